"""Whatever is away or refuses, a Lambda fails by one of our names, and its text holds no value."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.config import Config

from contract.strict import ContractError
from lambdas import errors
from lambdas.adapters.aws import Storage
from lambdas.handlers import (
    claim_import,
    collect_results,
    environment,
    follow_execution,
    index_objects,
    migrate_catalog,
    reconcile_association,
    record_failure,
    record_job,
    register_association,
    stage_copies,
)
from local.processes import free_port
from tests.support.aws_endpoint import AwsEndpoint
from tests.support.lambdas import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.aws import Aws
    from tests.support.associations import Placer

HANDLERS: dict[str, tuple[Callable[[dict[str, Any], Any], dict[str, Any]], dict[str, Any]]] = {
    "register_association": (register_association.handler, {"execution_arn": "arn:x"}),
    "index_objects": (index_objects.handler, {"edge": "edge-1", "bucket": "b", "part": 1, "first": 0, "count": 1}),
    "claim_import": (
        claim_import.handler,
        {"edge": "edge-1", "bucket": "b", "part": 1, "execution_arn": "arn:x", "failed_only": False, "force": False},
    ),
    "stage_copies": (stage_copies.handler, {"bucket": "b", "part": 1, "attempt": 1}),
    "record_job": (record_job.handler, {"part": 1, "attempt": 1, "job_id": "j", "status": "SUBMITTED"}),
    "collect_results": (
        collect_results.handler,
        {
            "part": 1,
            "attempt": 1,
            "edge": "edge-1",
            "bucket": "b",
            "job_id": "j",
            "job_output_s3_uri": "s3://b/o/",
            "force": False,
        },
    ),
    "record_failure": (
        record_failure.handler,
        {"part": 1, "attempt": 1, "job_id": "j", "job_failed": True, "error": "E", "cause": "c"},
    ),
    "reconcile_association": (reconcile_association.handler, {"execution_arn": "arn:x"}),
}


@pytest.fixture
def fresh_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Handlers that make their clients anew, and do not wait between retries."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CATALOG_SECRET_ARN"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = (environment.catalog, environment.storage, environment.executions)
    environment.catalog().close()
    for one in made:
        one.cache_clear()
    yield monkeypatch
    for one in made:
        one.cache_clear()


# (what is answered, the name to fail by); S3, which register_association asks first, answers in XML.
ANSWERS = {
    "SlowDown": (503, errors.StorageUnavailableError),
    "ThrottlingException": (400, errors.StorageUnavailableError),
    "AccessDeniedException": (400, errors.StorageRefusedError),
}


@pytest.mark.parametrize("code", ANSWERS)
@pytest.mark.parametrize("name", [name for name in HANDLERS if name != "register_association"])
def test_what_aws_answers_is_told_by_our_names(
    placer: Placer, fresh_environment: pytest.MonkeyPatch, name: str, code: str
) -> None:
    status, expected = ANSWERS[code]
    with AwsEndpoint(lambda *_: (status, {"x-amzn-ErrorType": code}, {"__type": code, "message": "DOE^JANE"})) as endpoint:
        fresh_environment.setenv("AWS_ENDPOINT_URL", endpoint.url)
        handler, payload = _call(name, placer)
        with pytest.raises(expected) as raised:
            handler(payload, CONTEXT)
    told = "".join(traceback.format_exception(raised.value))
    assert "DOE" not in told
    assert "botocore.exceptions" not in told


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_whose_aws_is_away_is_unavailable(placer: Placer, fresh_environment: pytest.MonkeyPatch, name: str) -> None:
    fresh_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    handler, payload = _call(name, placer)
    with pytest.raises(errors.StorageUnavailableError) as raised:
        handler(payload, CONTEXT)
    assert type(raised.value).__name__ == "Storage.Unavailable"


@pytest.mark.parametrize(
    "secret", ["{}", "[]", "p4ssword", '{"host": "h", "port": "p4ssword", "username": "u", "password": "p", "dbname": "d"}']
)
def test_a_secret_of_another_form_is_refused_without_its_values(
    aws: Aws, fresh_environment: pytest.MonkeyPatch, secret: str
) -> None:
    fresh_environment.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    arn = aws.secrets.create_secret(Name=f"bad-{uuid4().hex}", SecretString=secret)["ARN"]
    fresh_environment.setenv("CATALOG_SECRET_ARN", arn)
    with pytest.raises(ContractError, match="expected host, port") as raised:
        migrate_catalog.handler({}, CONTEXT)
    assert "p4ssword" not in "".join(traceback.format_exception(raised.value)).split("ContractError")[-1]


def test_a_way_to_speak_in_clear_text_must_be_asked_for_by_its_name(aws: Aws, fresh_environment: pytest.MonkeyPatch) -> None:
    fresh_environment.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    arn = aws.secrets.create_secret(Name=f"good-{uuid4().hex}", SecretString="{}")["ARN"]
    fresh_environment.setenv("CATALOG_SECRET_ARN", arn)
    fresh_environment.setenv("CATALOG_TLS", "no")
    with pytest.raises(ContractError, match="CATALOG_TLS"):
        migrate_catalog.handler({}, CONTEXT)


@pytest.mark.usefixtures("lambdas")
@pytest.mark.parametrize("name", HANDLERS)
def test_a_payload_of_another_form_is_refused(placer: Placer, name: str) -> None:
    handler, payload = _call(name, placer)
    document = payload.get("announcement", payload)
    for wrong in ({}, payload | {"unknown": 1}, payload | {"announcement": document | {"association": 7}}):
        with pytest.raises(ContractError):
            handler(wrong, CONTEXT)


@pytest.mark.usefixtures("lambdas")
@pytest.mark.parametrize("event", [{}, {"detail": {}}, {"detail": "x"}])
def test_an_event_of_another_form_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        follow_execution.handler(event, CONTEXT)


@pytest.mark.usefixtures("lambdas")
@pytest.mark.parametrize("name", ["index_objects", "collect_results", "reconcile_association"])
def test_an_association_that_was_never_registered_is_said_to_be_unknown(placer: Placer, name: str) -> None:
    handler, payload = _call(name, placer)
    with pytest.raises(errors.UnknownAssociationError, match=payload["association"]):
        handler(payload, CONTEXT)


def test_s3_is_told_apart_by_what_it_answers(aws: Aws, bucket: str) -> None:
    storage = Storage(aws.session, endpoint_url=aws.endpoint_url)
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    aws.s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert storage.read(bucket, "k") == b"0123456789"
    assert storage.read_range(bucket, "k", 2, 3) == b"234"
    assert storage.read_range(bucket, "k", 8, 100) == b"89"
    assert storage.read_range(bucket, "k", 10, 1) == b""
    assert storage.read_range(bucket, "empty", 0, 65536) == b""
    with pytest.raises(errors.StorageNotFoundError):
        storage.read(bucket, "none")
    with pytest.raises(errors.StorageRefusedError):
        storage.read("no-such-bucket-0", "k")
    patient = Config(retries={"total_max_attempts": 1})
    away = Storage(aws.session, endpoint_url=f"http://127.0.0.1:{free_port()}", config=patient)
    with pytest.raises(errors.StorageUnavailableError):
        away.read(bucket, "k")
    with pytest.raises(errors.StorageUnavailableError):
        away.read_range(bucket, "k", 0, 1)


def test_a_range_of_s3_is_told_apart_by_what_s3_answers_too(aws: Aws, bucket: str) -> None:
    storage = Storage(aws.session, endpoint_url=aws.endpoint_url)
    with pytest.raises(errors.StorageNotFoundError):
        storage.read_range(bucket, "none", 0, 1)
    with pytest.raises(errors.StorageRefusedError):
        storage.read_range("no-such-bucket-0", "k", 0, 1)


@pytest.mark.parametrize("key", ["/k", "k/", "a//k", "a/../k", "a/./k", "ä b+c%41~", "*{}[]<>|\\^`#?&=k", "k\tk"])
def test_a_range_is_of_the_key_as_it_is_whatever_that_holds(aws: Aws, bucket: str, key: str) -> None:
    for other in ("k", "a/k", "ä b+cA~"):
        aws.s3.put_object(Bucket=bucket, Key=other, Body=b"of another")
    aws.s3.put_object(Bucket=bucket, Key=key, Body=b"0123456789")
    assert Storage(aws.session, endpoint_url=aws.endpoint_url).read_range(bucket, key, 2, 3) == b"234"


def test_a_range_is_of_the_version_that_is_asked_for(aws: Aws, bucket: str) -> None:
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first, second = (aws.s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"first", b"second"))
    storage = Storage(aws.session, endpoint_url=aws.endpoint_url)
    assert [storage.read_range(bucket, "k", 0, 9, version_id=one) for one in (first, second, None)] == [
        b"first",
        b"second",
        b"second",
    ]


def _call(name: str, placer: Placer) -> tuple[Callable[[dict[str, Any], Any], dict[str, Any]], dict[str, Any]]:
    handler, payload = HANDLERS[name]
    placed = placer.place()
    if name == "register_association":
        return handler, payload | {"announcement": placed.document}
    return handler, payload | {"association": placed.association}
