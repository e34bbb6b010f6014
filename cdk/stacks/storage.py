"""The storage stack: the bucket, the key that encrypts it, and the queue that hears of objects which came without the receiver.

Everything here outlives the stack. The queue stands here and not where it is read, because S3 takes a notification only
for a queue that exists and lets it send.
"""

from __future__ import annotations

from aws_cdk import Aws, CfnOutput, Duration, Environment, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from cdk.components.bucket import ObjectBucket
from cdk.components.queues import Inbound
from cdk.config import Config

_EXTERNAL_VISIBILITY = Duration.minutes(30)  # six times the longest that a function of ours runs


class StorageStack(Stack):
    """One environment's storage."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: the bucket of objects and manifests",
            env=Environment(region=config.region),
        )
        settings = config.storage
        bucket_name = settings.bucket_name or f"{config.prefix}-{Aws.ACCOUNT_ID}-{config.region}"
        self.external = Inbound(
            self, "External", queue_name=f"{config.prefix}-external", visibility_timeout=_EXTERNAL_VISIBILITY
        )
        let_s3_send = self.external.let_bucket_send(f"arn:aws:s3:::{bucket_name}")
        self.objects = ObjectBucket(
            self,
            "Objects",
            bucket_name=bucket_name,
            settings=settings,
            key=self._key(config),
            writers=config.principals,
            announces_to=self.external.queue.queue_arn,
        )
        self.objects.node.add_dependency(let_s3_send)
        CfnOutput(self, "BucketName", value=self.objects.bucket.bucket_name)
        CfnOutput(self, "ExternalUrl", value=self.external.queue.queue_url)
        CfnOutput(self, "ExternalDeadLettersUrl", value=self.external.dead_letters.queue_url)

    def _key(self, config: Config) -> kms.IKey | None:
        settings = config.storage
        if settings.encryption == "s3":
            return None
        if settings.kms_key_arn:
            return kms.Key.from_key_arn(self, "Key", settings.kms_key_arn)
        return kms.Key(
            self,
            "Key",
            alias=f"alias/{config.prefix}",
            description=f"Objects, manifests and queues of {config.prefix}",
            enable_key_rotation=True,
            policy=_key_policy(config),
            removal_policy=RemovalPolicy.RETAIN,
        )


def _key_policy(config: Config) -> iam.PolicyDocument:
    """The account administers the key. This environment's roles and the named readers use it, through S3 and SNS alone."""
    account = iam.AccountRootPrincipal()
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                sid="TheAccountAdministers",
                principals=[account],
                actions=[
                    *("kms:Describe*", "kms:Get*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Enable*", "kms:Disable*"),
                    *("kms:Create*", "kms:Revoke*", "kms:TagResource", "kms:UntagResource"),
                    *("kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"),
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="ThisEnvironmentUsesIt",
                principals=[account],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={
                    "ArnLike": {"aws:PrincipalArn": [*config.principals, *config.storage.readers]},
                    "StringEquals": {
                        "kms:ViaService": [f"{service}.{config.region}.amazonaws.com" for service in ("s3", "sns")]
                    },
                },
            ),
            iam.PolicyStatement(
                sid="AlarmsArePublished",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            ),
        ]
    )
