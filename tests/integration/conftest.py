"""Fixtures for the catalog and the Lambdas: handlers in this process, and associations to give them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.handlers import environment
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.support.associations import Placer
from tests.support.stepfunctions import MACHINE, StepFunctionsTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdas.catalog import CatalogSettings
    from local.aws import Aws


@pytest.fixture
def placer(aws: Aws, bucket: str) -> Placer:
    """Puts associations into a fresh bucket."""
    return Placer(aws=aws, bucket=bucket)


@pytest.fixture(scope="session")
def catalog_secret(aws: Aws, migrated_settings: CatalogSettings) -> str:
    """The ARN of the secret that says where the catalog is."""
    secret = {
        "host": migrated_settings.host,
        "port": migrated_settings.port,
        "username": migrated_settings.user,
        "password": migrated_settings.password,
        "dbname": migrated_settings.database,
    }
    return aws.secrets.create_secret(Name="catalog-of-tests", SecretString=json.dumps(secret))["ARN"]


@pytest.fixture(scope="session")
def step_functions_table() -> Iterator[StepFunctionsTable]:
    with StepFunctionsTable() as table:
        yield table


@pytest.fixture
def step_functions(step_functions_table: StepFunctionsTable) -> StepFunctionsTable:
    """Step Functions without an execution."""
    step_functions_table.executions.clear()
    step_functions_table.down = False
    return step_functions_table


@pytest.fixture(scope="session")
def made_handlers() -> Iterator[None]:
    """Handlers keep their clients and their connection from test to test, as from invocation to invocation."""
    yield
    environment.catalog().close()
    for made in (environment.catalog, environment.storage, environment.executions):
        made.cache_clear()


@pytest.fixture
def lambdas(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, aws: Aws, step_functions: StepFunctionsTable
) -> None:
    """Lets handlers run in this process: on the emulator's AWS, on the empty catalog, on the Step Functions of the test."""
    request.getfixturevalue("catalog")
    request.getfixturevalue("made_handlers")
    for name, value in {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ENDPOINT_URL_SFN": step_functions.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "CATALOG_SECRET_ARN": request.getfixturevalue("catalog_secret"),
        "CATALOG_TLS": "off",
        "INGEST_STATE_MACHINE_ARN": MACHINE,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def told(aws: Aws, lambdas: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A topic of failures; reads what was published to it."""
    sns = boto3.client("sns", endpoint_url=aws.endpoint_url)
    topic = sns.create_topic(Name="failures-of-tests")["TopicArn"]
    queue = aws.sqs.create_queue(QueueName="failures-of-tests")["QueueUrl"]
    queue_arn = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    monkeypatch.setenv("FAILURES_TOPIC_ARN", topic)
    environment.topic.cache_clear()

    def read() -> list[dict[str, Any]]:
        messages = aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in messages]

    yield read
    environment.topic.cache_clear()
    sns.delete_topic(TopicArn=topic)
    aws.sqs.delete_queue(QueueUrl=queue)
