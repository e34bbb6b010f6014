"""The bucket of everything that is kept: objects, manifests, HealthImaging's outputs."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk.acknowledged import acknowledge_wildcards
from cdk.sections import Storage
from contract.keys import EXTERNAL_PREFIX, INSTANCES_PREFIX, MANIFESTS_PREFIX, QUARANTINE_PREFIX, RETRIES_PREFIX

_KEPT_PREFIXES = (INSTANCES_PREFIX, QUARANTINE_PREFIX, MANIFESTS_PREFIX)
_STAGED_DAYS = 30  # longer than an execution can be redriven: 14 days after it ended
_OLD_VERSIONS_DAYS = 30
_LOGS_DAYS = 365


class ObjectBucket(Construct):
    """Versioned, encrypted, closed to the public and to plain HTTP; it outlives its stack. Or one that exists, as it is."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket_name: str,
        settings: Storage,
        key: kms.IKey | None,
        writers: Sequence[str],
        announces_to: str | None,
    ) -> None:
        """`writers` are ARNs, with wildcards, of who may put what is not external. `announces_to` is the ARN of a queue for
        the events of objects under external/."""
        super().__init__(scope, construct_id)
        self.key = key
        self.arn = f"arn:aws:s3:::{bucket_name}"
        if settings.existing:
            self.bucket: s3.IBucket = s3.Bucket.from_bucket_attributes(
                self, "Bucket", bucket_name=bucket_name, encryption_key=key
            )
            return
        bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=bucket_name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            versioned=True,
            object_lock_default_retention=(
                s3.ObjectLockRetention.governance(Duration.days(settings.object_lock_days))
                if settings.object_lock_days
                else None
            ),
            lifecycle_rules=_lifecycle(settings),
            server_access_logs_bucket=self._access_logs(bucket_name) if settings.access_logs else None,
            server_access_logs_prefix="objects/" if settings.access_logs else None,
        )
        self.bucket = bucket
        for statement in _refusals(bucket, writers):
            bucket.add_to_resource_policy(statement)
        _keep_policy(bucket)
        if announces_to:
            _announce_external(bucket, announces_to)

    def grant_read(self, grantee: iam.IGrantable, *prefixes: str, versions: bool = False) -> None:
        """Let `grantee` read what stands under `prefixes`; with `versions`, also what stood there before.

        Listing is on the whole bucket: S3 answers 403 in place of 404 for a missing object to who may not list, and a
        condition on the prefix does not hold for that answer (S3 API reference, GetObject, "Permissions").
        """
        actions = ["s3:GetObject", *(["s3:GetObjectVersion"] if versions else [])]
        role = self._grant_objects(grantee, actions, prefixes)
        role.add_to_principal_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self.arn]))
        self._grant_key(role, "kms:Decrypt")

    def grant_write(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Let `grantee` put objects of any size under `prefixes`, so in parts too, which S3 decrypts to make them one."""
        role = self._grant_objects(grantee, ["s3:PutObject", "s3:AbortMultipartUpload"], prefixes)
        self._grant_key(role, "kms:GenerateDataKey", "kms:Decrypt")

    def objects(self, *prefixes: str) -> list[str]:
        """What stands under the prefixes, as resources of a policy."""
        return [f"{self.arn}/{prefix}*" for prefix in prefixes]

    def _grant_objects(self, grantee: iam.IGrantable, actions: list[str], prefixes: Sequence[str]) -> iam.Role:
        role = grantee.grant_principal
        assert isinstance(role, iam.Role)  # noqa: S101 - all of ours have one
        objects = self.objects(*prefixes)
        role.add_to_principal_policy(iam.PolicyStatement(actions=actions, resources=objects))
        acknowledge_wildcards(role, objects, "Objects have names of their own: a prefix is as narrow as it can be.")
        return role

    def _grant_key(self, principal: iam.IPrincipal, *actions: str) -> None:
        if self.key:
            principal.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=[self.key.key_arn]))

    def _access_logs(self, bucket_name: str) -> s3.Bucket:
        logs = s3.Bucket(
            self,
            "AccessLogs",
            bucket_name=f"{bucket_name}-logs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,  # S3 delivers access logs to no other
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            versioned=True,
            lifecycle_rules=[s3.LifecycleRule(id="Old", expiration=Duration.days(_LOGS_DAYS))],
        )
        _keep_policy(logs)
        return logs


def _keep_policy(bucket: s3.Bucket) -> None:
    """Let a bucket that outlives its stack keep what it refuses."""
    assert bucket.policy is not None  # noqa: S101 - TLS is enforced by one
    bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)


def _lifecycle(settings: Storage) -> list[s3.LifecycleRule]:
    """What makes the bucket cheaper with time. No rule expires what an edge sent: only a newer version's predecessors go."""
    rules = [
        s3.LifecycleRule(id="UnfinishedUploads", abort_incomplete_multipart_upload_after=Duration.days(7)),
        s3.LifecycleRule(id="OldVersions", noncurrent_version_expiration=Duration.days(_OLD_VERSIONS_DAYS)),
        s3.LifecycleRule(id="StagedCopies", prefix=RETRIES_PREFIX, expiration=Duration.days(_STAGED_DAYS)),
    ]
    if settings.archive_after_days:
        archive = s3.Transition(
            storage_class=s3.StorageClass.GLACIER_INSTANT_RETRIEVAL,
            transition_after=Duration.days(settings.archive_after_days),
        )
        rules.append(s3.LifecycleRule(id="Archive", prefix=INSTANCES_PREFIX, transitions=[archive]))
    return rules


def _refusals(bucket: s3.Bucket, writers: Sequence[str]) -> list[iam.PolicyStatement]:
    """What the bucket refuses whatever an identity's own policy allows.

    HealthImaging imports all that is below a prefix, so nothing but this environment may put there. What was acknowledged
    is deleted by nobody: whoever must, changes this policy first.
    """
    return [
        iam.PolicyStatement(
            sid="OnlyThisEnvironmentPuts",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:PutObject"],
            not_resources=[bucket.arn_for_objects(f"{EXTERNAL_PREFIX}*")],
            conditions={"ArnNotLike": {"aws:PrincipalArn": list(writers)}},
        ),
        iam.PolicyStatement(
            sid="NobodyDeletesWhatWasAcknowledged",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:DeleteObject", "s3:DeleteObjectVersion"],
            resources=[bucket.arn_for_objects(f"{prefix}*") for prefix in _KEPT_PREFIXES],
        ),
    ]


def _announce_external(bucket: s3.Bucket, queue_arn: str) -> None:
    """Events of external objects to a queue, by the bucket's own property: CDK's way is a Lambda behind a custom resource."""
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)  # noqa: S101 - CDK's types do not say so
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        queue_configurations=[
            s3.CfnBucket.QueueConfigurationProperty(
                event=event,
                queue=queue_arn,
                filter=s3.CfnBucket.NotificationFilterProperty(
                    s3_key=s3.CfnBucket.S3KeyFilterProperty(
                        rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value=EXTERNAL_PREFIX)]
                    )
                ),
            )
            for event in ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
        ]
    )
