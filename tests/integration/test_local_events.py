"""Events of AWS services reach the targets of the rules that match them, and only those, and never fail the caller."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from local.aws import Aws
from local.events import EventBus
from local.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERN = {"source": ["aws.states"], "detail-type": ["Execution Ended"], "detail": {"status": ["FAILED", "ABORTED"]}}


class Queue:
    def __init__(self, aws: Aws) -> None:
        self._sqs = aws.sqs
        self.url = aws.sqs.create_queue(QueueName=f"events-{uuid4().hex[:8]}")["QueueUrl"]
        self.arn = aws.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def receive(self, *, wait_seconds: int = 0) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@pytest.fixture
def queue(aws: Aws) -> Queue:
    return Queue(aws)


@pytest.fixture
def rule(aws: Aws) -> Iterator[str]:
    name = f"rule-{uuid4().hex[:8]}"
    aws.events.put_rule(Name=name, EventPattern=json.dumps(PATTERN))
    yield name
    targets = aws.events.list_targets_by_rule(Rule=name)["Targets"]
    if targets:
        aws.events.remove_targets(Rule=name, Ids=[target["Id"] for target in targets])
    aws.events.delete_rule(Name=name)


def deliver(bus: EventBus, status: str = "FAILED", *, source: str = "aws.states") -> None:
    bus.deliver(source=source, detail_type="Execution Ended", detail={"status": status}, resources=["arn:aws:states:::x"])


def test_a_queue_gets_the_event_in_the_envelope_of_aws(aws: Aws, queue: Queue, rule: str) -> None:
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.arn}])
    deliver(EventBus(aws))
    (event,) = queue.receive()
    assert {name: event[name] for name in ("version", "detail-type", "source", "account", "region", "resources", "detail")} == {
        "version": "0",
        "detail-type": "Execution Ended",
        "source": "aws.states",
        "account": "000000000000",
        "region": "us-east-1",
        "resources": ["arn:aws:states:::x"],
        "detail": {"status": "FAILED"},
    }
    assert set(event) == {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}


def test_events_that_the_pattern_does_not_match_are_not_delivered(aws: Aws, queue: Queue, rule: str) -> None:
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.arn}])
    bus = EventBus(aws)
    deliver(bus, "SUCCEEDED")
    deliver(bus, "FAILED", source="aws.medical-imaging")
    deliver(bus, "ABORTED")
    assert [event["detail"]["status"] for event in queue.receive()] == ["ABORTED"]


def test_a_disabled_rule_gets_nothing(aws: Aws, queue: Queue, rule: str) -> None:
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.arn}])
    aws.events.disable_rule(Name=rule)
    deliver(EventBus(aws))
    assert queue.receive() == []


def test_a_function_is_invoked_with_the_event(aws: Aws, queue: Queue, rule: str) -> None:
    code = (
        "import boto3, json, os\n"
        "def handler(event, context):\n"
        "    boto3.client('sqs').send_message(QueueUrl=os.environ['QUEUE'], MessageBody=json.dumps(event))\n"
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("index.py", code)
    function = aws.functions.create_function(
        FunctionName=f"echo-{uuid4().hex[:8]}",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"QUEUE": queue.url}},
    )
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "function", "Arn": function["FunctionArn"]}])
    deliver(EventBus(aws))
    (event,) = queue.receive(wait_seconds=20)
    assert event["detail"] == {"status": "FAILED"}


def test_rules_are_read_again_after_a_short_while(aws: Aws, queue: Queue, rule: str) -> None:
    now = 0.0
    bus = EventBus(aws, monotonic=lambda: now)
    deliver(bus)
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue.arn}])
    deliver(bus, "ABORTED")
    assert queue.receive() == []
    now = 3.0
    deliver(bus)
    assert len(queue.receive()) == 1


def test_a_target_that_fails_is_logged_by_its_rule_and_keeps_nothing_from_the_others(
    aws: Aws, queue: Queue, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = "arn:aws:sqs:us-east-1:000000000000:gone"
    aws.events.put_targets(Rule=rule, Targets=[{"Id": "a", "Arn": gone}, {"Id": "b", "Arn": queue.arn}])
    with caplog.at_level(logging.WARNING):
        EventBus(aws).deliver(
            source="aws.states", detail_type="Execution Ended", detail={"status": "FAILED", "secret": "Doe^Jane"}
        )
    assert len(queue.receive()) == 1
    assert rule in caplog.text
    assert "Doe^Jane" not in caplog.text


def test_an_emulator_that_is_away_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    deliver(EventBus(Aws(f"http://127.0.0.1:{free_port()}")))
    assert "an event is dropped" in caplog.text
