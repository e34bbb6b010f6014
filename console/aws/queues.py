"""SQS queues: how deep they are, and one message at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from console.aws.told import told

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sqs import SQSClient

_RECEIVE_MAX = 10  # SQS API reference, ReceiveMessage, MaxNumberOfMessages


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Approximate counts. `dead_letters_arn` is empty for a queue without a dead letter queue."""

    arn: str
    waiting: int
    taken: int
    dead_letters_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was received. `sent_at_ms` is SQS's SentTimestamp, which a move to a dead letter queue keeps."""

    id: str
    receipt: str
    body: str
    sent_at_ms: int
    receive_count: int
    attributes: Mapping[str, str]


class Queues:
    """SQS queues, by URL."""

    def __init__(self, client: SQSClient, metrics: CloudWatchClient) -> None:
        self._client = client
        self._metrics = metrics

    def depth(self, url: str) -> QueueDepth:
        with told("sqs:GetQueueAttributes"):
            said: Mapping[str, str] = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]  # type: ignore[assignment]  # a TypedDict of strings
        policy = json.loads(said.get("RedrivePolicy", "{}"))
        return QueueDepth(
            arn=said["QueueArn"],
            waiting=int(said["ApproximateNumberOfMessages"]) + int(said.get("ApproximateNumberOfMessagesDelayed", "0")),
            taken=int(said["ApproximateNumberOfMessagesNotVisible"]),
            dead_letters_arn=policy.get("deadLetterTargetArn", ""),
        )

    def oldest_seconds(self, name: str) -> float | None:
        """ApproximateAgeOfOldestMessage, of the last minutes (CloudWatch); None where nothing was measured."""
        now = datetime.now(UTC)
        with told("cloudwatch:GetMetricStatistics"):
            points = self._metrics.get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": name}],
                StartTime=now - timedelta(minutes=15),
                EndTime=now,
                Period=60,
                Statistics=["Maximum"],
            )["Datapoints"]
        return max(points, key=lambda point: point["Timestamp"])["Maximum"] if points else None

    def receive(self, url: str, *, hidden_seconds: int) -> list[Message]:
        """Up to ten messages, hidden from others for so long; none when the queue gives none within a second."""
        with told("sqs:ReceiveMessage"):
            answer = self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=_RECEIVE_MAX,
                VisibilityTimeout=hidden_seconds,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        return [
            Message(
                id=one["MessageId"],
                receipt=one["ReceiptHandle"],
                body=one["Body"],
                sent_at_ms=int(one["Attributes"]["SentTimestamp"]),
                receive_count=int(one["Attributes"].get("ApproximateReceiveCount", "0")),
                attributes={name: value.get("StringValue", "") for name, value in one.get("MessageAttributes", {}).items()},
            )
            for one in answer.get("Messages", [])
        ]

    def send(self, url: str, message: Message) -> None:
        """Send a message with the body and the attributes of this one. It gets a SentTimestamp of its own."""
        attributes: Any = {
            name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items() if value
        }
        with told("sqs:SendMessage"):
            self._client.send_message(QueueUrl=url, MessageBody=message.body, MessageAttributes=attributes)

    def show_again(self, url: str, receipt: str) -> None:
        """Let a received message be received again at once."""
        with told("sqs:ChangeMessageVisibility"):
            self._client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)

    def delete(self, url: str, receipt: str) -> None:
        with told("sqs:DeleteMessage"):
            self._client.delete_message(QueueUrl=url, ReceiptHandle=receipt)
