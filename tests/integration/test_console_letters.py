"""Dead letters: shown with their reasons, given back, and never lost in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from console.aws import Cloud
from console.errors import CloudError
from console.letters import DeadLetters, depths
from console.stack import Stack
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.support.stepfunctions import MACHINE

if TYPE_CHECKING:
    from lambdas.catalog import CatalogSettings
    from local.aws import Aws
    from tests.support.associations import Placer
    from tests.support.stepfunctions import StepFunctionsTable

S3_EVENT = json.dumps({"Records": [{"s3": {"object": {"key": "external/a/1.dcm"}}}]})


@pytest.fixture
def queue_urls(aws: Aws) -> tuple[str, str]:
    """A queue and its dead letter queue."""
    name = f"inbound-{uuid4().hex[:8]}"
    dead = aws.sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    return aws.sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"], dead


@pytest.fixture
def stack(
    aws: Aws, queue_urls: tuple[str, str], step_functions: StepFunctionsTable, migrated_settings: CatalogSettings
) -> Stack:
    endpoints = {
        "aws": {
            "endpoint_url": aws.endpoint_url,
            "region": REGION,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        },
        "stepfunctions": {"endpoint_url": step_functions.url},
        "medical_imaging": {"endpoint_url": aws.endpoint_url},
    }
    return Stack(
        cloud=Cloud.of_endpoints(endpoints),
        bucket="none",
        queues=queue_urls,
        ingest_machine_arn=MACHINE,
        import_machine_arn=MACHINE,
        datastore_id="0" * 32,
        catalog_settings=migrated_settings,
    )


@pytest.fixture
def letters(stack: Stack, queue_urls: tuple[str, str]) -> DeadLetters:
    source, dead = queue_urls
    return DeadLetters(stack, dead, source)


def bodies(aws: Aws, url: str) -> list[str]:
    """What can be received from a queue now; it is received for good."""
    found: list[str] = []
    while messages := aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [message["Body"] for message in messages]
    return found


def test_a_queue_is_listed_with_its_depth_and_its_dead_letter_queue(
    stack: Stack, queue_urls: tuple[str, str], aws: Aws
) -> None:
    for _ in range(3):
        aws.sqs.send_message(QueueUrl=queue_urls[0], MessageBody="x")
    aws.sqs.receive_message(QueueUrl=queue_urls[0])
    source, dead = depths(stack)
    assert (source.waiting, source.taken, source.dead_letters) == (2, 1, dead.name)
    assert (dead.waiting, dead.taken, dead.dead_letters) == (0, 0, "")


def test_each_letter_is_shown_with_its_reason_and_stays(
    letters: DeadLetters, queue_urls: tuple[str, str], aws: Aws, placer: Placer
) -> None:
    placed = placer.place([b"x"])
    malformed = json.dumps({**json.loads(placed.message), "version": 99})
    execution = {"source": "aws.states", "detail": {"executionArn": "arn:e"}}
    failed = {
        "requestContext": {"condition": "RetriesExhausted"},
        "requestPayload": execution,
        "responsePayload": {"errorType": "Catalog.Unavailable", "errorMessage": "MySQL error 2003"},
    }
    for body in (placed.message.decode(), malformed, S3_EVENT, json.dumps(failed), "no JSON"):
        aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=body)
    undelivered: Any = {
        "ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"},
        "ERROR_MESSAGE": {"DataType": "String", "StringValue": "not authorized"},
    }
    aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=json.dumps(execution), MessageAttributes=undelivered)
    shown = sorted((one.kind, one.about, one.why) for one in letters.look())
    assert shown == [
        ("association", placed.association, "no execution was started for as long as that was tried"),
        ("execution", "arn:e", "Catalog.Unavailable: MySQL error 2003"),
        ("execution", "arn:e", "NO_PERMISSIONS: not authorized"),
        ("malformed", "", "InboundMessage.version: this program reads version 1 only"),
        ("malformed", "", "it is nothing that the pipeline sends"),
        ("objects", "external/a/1.dcm", "its function failed: see the function's log"),
    ]
    assert len(bodies(aws, queue_urls[1])) == 6


def test_an_association_is_started_with_the_time_at_which_sqs_first_took_its_message(
    letters: DeadLetters, queue_urls: tuple[str, str], aws: Aws, placer: Placer, step_functions: StepFunctionsTable
) -> None:
    placed = placer.place([b"x"])
    aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=placed.message.decode())
    (shown,) = letters.look()
    (done,) = letters.redrive()
    assert (done.said, done.stays) == ("its execution is started", False)
    (execution,) = step_functions.executions.values()
    assert json.loads(execution["input"]) == json.loads(placed.message) | {"sent_at_ms": shown.message.sent_at_ms}
    assert bodies(aws, queue_urls[1]) == bodies(aws, queue_urls[0]) == []


def test_other_letters_go_back_to_their_queue_and_what_nobody_can_read_stays(
    letters: DeadLetters, queue_urls: tuple[str, str], aws: Aws
) -> None:
    for body in (S3_EVENT, "no JSON"):
        aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=body)
    assert sorted(one.stays for one in letters.redrive()) == [False, True]
    assert bodies(aws, queue_urls[0]) == [S3_EVENT]
    assert bodies(aws, queue_urls[1]) == ["no JSON"]


@pytest.mark.parametrize(("breaks", "back"), [("send", []), ("delete", [S3_EVENT])])
def test_a_letter_is_in_one_of_the_queues_wherever_it_breaks_off(
    *,
    letters: DeadLetters,
    stack: Stack,
    queue_urls: tuple[str, str],
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    breaks: str,
    back: list[str],
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=S3_EVENT)
    monkeypatch.setattr(stack.cloud.queues, breaks, broken)
    with pytest.raises(KeyboardInterrupt):
        list(letters.redrive())
    assert bodies(aws, queue_urls[0]) == back
    assert bodies(aws, queue_urls[1]) == [S3_EVENT]


def test_a_letter_that_aws_refuses_stays_with_the_reason(
    letters: DeadLetters, stack: Stack, queue_urls: tuple[str, str], aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CloudError("AWS does not allow sqs:SendMessage: use a role that has this right.")

    aws.sqs.send_message(QueueUrl=queue_urls[1], MessageBody=S3_EVENT)
    monkeypatch.setattr(stack.cloud.queues, "send", refused)
    (done,) = letters.redrive()
    assert done.stays
    assert "does not allow sqs:SendMessage" in done.said
    assert bodies(aws, queue_urls[1]) == [S3_EVENT]
