"""The receiver of one edge, where it runs: on a Greengrass gateway, as an ECS service, or on an EC2 instance."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_iam as iam

from cdk.sections import Edge


@dataclass(frozen=True, kw_only=True)
class ReceiverProps:
    """What a receiver is made of, wherever it runs. `name` is what its resources are called.

    `commitment_function`: the ARN of the function that says what was imported; empty where commitment does not wait for that.
    """

    name: str
    edge: str
    settings: Edge
    policy: iam.IManagedPolicy
    bucket_name: str
    queue_url: str
    region: str
    commitment_function: str

    def environment(self, spool: str) -> dict[str, str]:
        """The receiver's environment (docs/configuration.md), with its spool in a folder."""
        return {
            "AHI_INGEST_EDGE_ID": self.edge,
            "AHI_INGEST_BUCKET": self.bucket_name,
            "AHI_INGEST_QUEUE_URL": self.queue_url,
            "AHI_INGEST_SPOOL": spool,
            "AHI_INGEST_PORT": str(self.settings.dicom_port),
            "AWS_REGION": self.region,
            **self.commitment,
        }

    @property
    def commitment(self) -> dict[str, str]:
        """What the environment says of storage commitment, where that is not the default."""
        if not self.commitment_function:
            return {}
        return {
            "AHI_INGEST_COMMITMENT_AFTER": "healthimaging",
            "AHI_INGEST_COMMITMENT_FUNCTION": self.commitment_function,
        }
