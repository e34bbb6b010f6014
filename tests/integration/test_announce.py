"""Every manifest in S3 without an execution is announced again, and nothing else is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from contract.association import Ending, new_association_id
from contract.keys import manifest_key, part_manifest_key
from contract.manifest import AssociationManifest, PartSummary
from contract.message import InboundMessage
from contract.strict import from_json, to_json
from local.announce import announce_again

if TYPE_CHECKING:
    from local.aws import Aws

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:ingest"
NOW = datetime(2026, 11, 24, 2, 15, 1, tzinfo=UTC)


class Engine:
    """ListExecutions, in pages."""

    def __init__(self, *started: str) -> None:
        self.stepfunctions = self
        self._started = started

    def get_paginator(self, operation: str) -> Engine:
        assert operation == "list_executions"
        return self

    def paginate(self, *, stateMachineArn: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's name
        assert stateMachineArn == MACHINE
        return [{"executions": [{"name": name}]} for name in self._started]


@pytest.fixture
def queue_url(aws: Aws) -> str:
    return aws.sqs.create_queue(QueueName=f"announced-{uuid4().hex[:8]}")["QueueUrl"]


def put_manifest(aws: Aws, bucket: str, sequence: int) -> AssociationManifest:
    manifest = AssociationManifest(
        association=new_association_id("CT", NOW),
        edge="local",
        sequence=sequence,
        calling_ae="CT",
        called_ae="AHI_INGEST",
        peer="127.0.0.1",
        started_at=NOW,
        ended_at=NOW,
        ending=Ending.RELEASED,
        identical_repeats=0,
        parts=(PartSummary(part=1, objects=2, size_bytes=10),),
        quarantined=(),
    )
    aws.s3.put_object(Bucket=bucket, Key=manifest_key("local", manifest.association), Body=to_json(manifest))
    aws.s3.put_object(Bucket=bucket, Key=part_manifest_key("local", manifest.association, 1), Body=b"{}")
    return manifest


def announce(aws: Aws, bucket: str, queue_url: str, *started: str) -> int:
    engine: Any = Engine(*started)
    return announce_again(aws, engine, bucket=bucket, queue_url=queue_url, machine_arn=MACHINE)


def received(aws: Aws, queue_url: str) -> list[InboundMessage]:
    answer = aws.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
    return [from_json(InboundMessage, message["Body"]) for message in answer.get("Messages", [])]


def test_what_has_no_execution_is_announced_in_the_order_of_its_edge(aws: Aws, bucket: str, queue_url: str) -> None:
    later, earlier, started = (put_manifest(aws, bucket, sequence) for sequence in (9, 7, 8))
    assert announce(aws, bucket, queue_url, "another", started.association) == 2
    messages = received(aws, queue_url)
    assert messages == [InboundMessage.announcing(manifest, bucket) for manifest in (earlier, later)]


def test_nothing_is_announced_when_everything_was_started(aws: Aws, bucket: str, queue_url: str) -> None:
    manifest = put_manifest(aws, bucket, 1)
    assert announce(aws, bucket, queue_url, manifest.association) == 0
    assert received(aws, queue_url) == []


def test_a_manifest_that_cannot_be_read_keeps_no_other_from_being_announced(
    aws: Aws, bucket: str, queue_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = new_association_id("MR", NOW)
    aws.s3.put_object(Bucket=bucket, Key=manifest_key("local", broken), Body=json.dumps({"version": 99}))
    good = put_manifest(aws, bucket, 1)
    assert announce(aws, bucket, queue_url) == 1
    assert [message.association for message in received(aws, queue_url)] == [good.association]
    assert broken in caplog.text
