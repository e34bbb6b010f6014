"""The imaging stack: the HealthImaging data store, and the role by which it reads objects and writes its outputs."""

from __future__ import annotations

from aws_cdk import Aws, Environment, RemovalPolicy, Stack
from aws_cdk import aws_healthimaging as healthimaging
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk.components.bucket import ObjectBucket
from cdk.config import Config
from contract.keys import IMPORTS_PREFIX, INSTANCES_PREFIX, RETRIES_PREFIX


class ImagingStack(Stack):
    """One environment's imaging. What the configuration gives is taken as it is; the rest is new."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, objects: ObjectBucket) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: the HealthImaging data store, and the role of its imports",
            env=Environment(region=config.region),
        )
        self.datastore_id: str = config.imaging.datastore_id or self._new_datastore(config)
        self.import_role_arn: str = config.imaging.import_role_arn or self._new_import_role(config, objects)

    def _new_datastore(self, config: Config) -> str:
        store = healthimaging.CfnDatastore(
            self, "Datastore", datastore_name=config.prefix, kms_key_arn=config.imaging.kms_key_arn or None
        )
        store.apply_removal_policy(RemovalPolicy.RETAIN)
        return store.attr_datastore_id

    def _new_import_role(self, config: Config, objects: ObjectBucket) -> str:
        """HealthImaging guide, "Creating an IAM role for import", with the guard against a confused deputy."""
        datastore = self.format_arn(service="medical-imaging", resource="datastore", resource_name=self.datastore_id)
        role = iam.Role(
            self,
            "ImportRole",
            role_name=f"{config.prefix}-healthimaging",
            assumed_by=iam.ServicePrincipal(
                "medical-imaging.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                    "ArnEquals": {"aws:SourceArn": datastore},
                },
            ),
        )
        objects.grant_read(role, INSTANCES_PREFIX, RETRIES_PREFIX)
        objects.grant_write(role, IMPORTS_PREFIX)
        return role.role_arn
