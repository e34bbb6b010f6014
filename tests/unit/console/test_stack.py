"""Which deployment the console talks to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from console import aws, stack
from console.errors import StackNotFoundError

SECRET = '{"host": "h", "port": 3306, "username": "u", "password": "p", "dbname": "d"}'


class Session:
    """An account whose stacks are `named`, each with its outputs."""

    def __init__(self, named: dict[str, dict[str, str]]) -> None:
        self._stacks = [
            {"StackName": name, "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]}
            for name, outputs in named.items()
        ]

    def client(self, service: str, **_: Any) -> Any:
        if service == "secretsmanager":
            return SimpleNamespace(get_secret_value=lambda **_: {"SecretString": SECRET})
        return SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda: [{"Stacks": self._stacks}]))


def environment(name: str) -> dict[str, dict[str, str]]:
    return {
        f"{name}-storage": {"BucketName": f"{name}-bucket"},
        f"{name}-catalog": {"CatalogSecretArn": f"{name}-secret"},
        f"{name}-ingest": {"IngestStateMachineArn": name, "ImportStateMachineArn": f"{name}-import", "DatastoreId": name},
    }


def found(name: str, *environments: str, monkeypatch: pytest.MonkeyPatch) -> stack.Stack:
    named = {key: value for one in environments for key, value in environment(one).items()}
    session: Any = Session(named)
    monkeypatch.setattr(aws.Cloud, "of_environment", classmethod(lambda cls: cls(session, {})))
    return stack.find(Path(), name)


def test_an_environment_is_not_mixed_with_one_whose_name_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for environments in (("ahi-ingest-prod", "ahi-ingest-prod-eu"), ("ahi-ingest-prod-eu", "ahi-ingest-prod")):
        one = found("ahi-ingest-prod", *environments, monkeypatch=monkeypatch)
        assert (one.bucket, one.ingest_machine_arn) == ("ahi-ingest-prod-bucket", "ahi-ingest-prod")


def test_a_name_that_only_begins_so_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackNotFoundError, match="none of the stacks ahi-ingest-storage, "):
        found("ahi-ingest", "ahi-ingest-prod", monkeypatch=monkeypatch)
