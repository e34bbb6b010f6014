"""The receiver of one edge, where it runs: on a Greengrass gateway, as an ECS service, or on an EC2 instance."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_iam as iam

from cdk.sections import Edge


@dataclass(frozen=True, kw_only=True)
class ReceiverProps:
    """What a receiver is made of, wherever it runs. `name` is what its resources are called."""

    name: str
    edge: str
    settings: Edge
    policy: iam.IManagedPolicy
    bucket_name: str
    queue_url: str
    region: str

    def environment(self, spool: str) -> dict[str, str]:
        """The receiver's environment (docs/configuration.md), with its spool in a folder."""
        return {
            "AHI_INGEST_EDGE_ID": self.edge,
            "AHI_INGEST_BUCKET": self.bucket_name,
            "AHI_INGEST_QUEUE_URL": self.queue_url,
            "AHI_INGEST_SPOOL": spool,
            "AHI_INGEST_PORT": str(self.settings.dicom_port),
            "AWS_REGION": self.region,
        }
