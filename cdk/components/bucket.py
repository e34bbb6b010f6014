"""The bucket of everything that is kept: objects, manifests, HealthImaging's outputs."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct


class ObjectBucket(Construct):
    """Versioned, encrypted, closed to the public and to plain HTTP; it outlives its stack."""

    def __init__(self, scope: Construct, construct_id: str, *, bucket_name: str) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=bucket_name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(id="UnfinishedUploads", abort_incomplete_multipart_upload_after=Duration.days(7)),
            ],
        )

    def grant_read(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Let `grantee` read what stands under `prefixes`.

        Listing is on the whole bucket: S3 answers 403 in place of 404 for a missing object to who may not list, and a
        condition on the prefix does not hold for that answer (S3 API reference, GetObject, "Permissions").
        """
        objects = [self.bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes]
        grantee.grant_principal.add_to_principal_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self.bucket.bucket_arn])
        )

    def grant_write(self, grantee: iam.IGrantable, *prefixes: str) -> None:
        """Let `grantee` put objects under `prefixes`, in parts too."""
        objects = [self.bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes]
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:PutObject", "s3:AbortMultipartUpload"], resources=objects)
        )
