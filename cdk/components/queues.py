"""Queues, each with the queue where its failures wait for an operator."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IDependable


@dataclass(frozen=True)
class QueueNames:
    """The names of a queue and of the one for its failures; `name` is empty where the failures are not of a queue."""

    name: str
    dead_letters: str


_KEPT = Duration.days(14)  # the longest that SQS keeps a message


class DeadLetterQueue(Construct):
    """Where messages and events go that could not be handled. Nothing reads it but an operator."""

    def __init__(self, scope: Construct, construct_id: str, *, queue_name: str) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=queue_name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=_KEPT,
        )


class Inbound(Construct):
    """A queue that a function reads, and its dead letters: of an edge, whose messages announce associations that are in S3
    whole; or of the bucket's events of external objects."""

    MAX_RECEIVE_COUNT = 3

    def __init__(self, scope: Construct, construct_id: str, *, queue_name: str, visibility_timeout: Duration) -> None:
        super().__init__(scope, construct_id)
        self.names = QueueNames(queue_name, f"{queue_name}-dlq")
        self.dead_letters = DeadLetterQueue(self, "DeadLetters", queue_name=self.names.dead_letters).queue
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=queue_name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=_KEPT,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=self.MAX_RECEIVE_COUNT),
        )

    def let_bucket_send(self, bucket_arn: str) -> IDependable:
        """Let S3 send the events of one bucket of this account; what the bucket must wait for."""
        return self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                sid="TheBucketSends",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": bucket_arn}, "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        ).policy_dependable
