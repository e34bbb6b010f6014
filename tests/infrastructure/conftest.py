"""The app of a production environment with two edges, synthesized once per session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cdk.app import make_app
from cdk.bundle import Bundle, build
from cdk.config import Config, from_table
from tests.support.templates import Template

if TYPE_CHECKING:
    from pathlib import Path

TABLE: dict[str, Any] = {
    "environment": "prod",
    "edges": ["main-campus", "clinic-2"],
    "catalog": {"secret_arn": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:catalog-Ab12Cd"},
    "imaging": {
        "datastore_id": "0123456789abcdef0123456789abcdef",
        "import_role_arn": "arn:aws:iam::111122223333:role/import",
    },
}


@pytest.fixture(scope="session")
def config() -> Config:
    return from_table(TABLE)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return build("arm64")


@pytest.fixture(scope="session")
def template(config: Config, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Template:
    output: Path = tmp_path_factory.mktemp("assembly")
    make_app(config, output=output, bundle=bundle).synth()
    return Template.read(output, "ahi-ingest-prod-ingest")
