"""What a receiver may do in AWS: write below its own prefixes, send to its own queue, ask its own function; no more."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.acknowledged import acknowledge_wildcards
from cdk.components.bucket import ObjectBucket
from contract.keys import INSTANCES_PREFIX, MANIFESTS_PREFIX, QUARANTINE_PREFIX, status_key


class EdgePolicy(Construct):
    """A managed policy of one edge, to be attached to whatever identity its receiver has."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        edge: str,
        objects: ObjectBucket,
        inbound: sqs.IQueue,
        answer_arn: str,
    ) -> None:
        """`answer_arn`: the function that answers this edge what was imported; empty where the edge does not ask."""
        super().__init__(scope, construct_id)
        own = objects.objects(*(f"{prefix}{edge}/" for prefix in (INSTANCES_PREFIX, QUARANTINE_PREFIX, MANIFESTS_PREFIX)))
        statements = [
            iam.PolicyStatement(
                sid="PutAndAbort",
                actions=["s3:PutObject", "s3:AbortMultipartUpload"],
                resources=[*own, f"{objects.arn}/{status_key(edge)}"],
            ),
            # When a PUT finds its key taken, HeadObject tells whether by the same content. S3 knows no narrower right.
            iam.PolicyStatement(sid="CompareWithWhatIsThere", actions=["s3:GetObject"], resources=own),
            iam.PolicyStatement(sid="Announce", actions=["sqs:SendMessage"], resources=[inbound.queue_arn]),
        ]
        if answer_arn:
            statements.append(
                iam.PolicyStatement(sid="AskWhatWasImported", actions=["lambda:InvokeFunction"], resources=[answer_arn])
            )
        if objects.key:
            statements.append(
                iam.PolicyStatement(
                    sid="Encrypt",  # Decrypt: S3 reads the parts of an upload to make them one, and a checksum to show it
                    actions=["kms:GenerateDataKey", "kms:Decrypt"],
                    resources=[objects.key.key_arn],
                )
            )
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            managed_policy_name=name,
            description=f"The receiver of the edge {edge}",
            statements=statements,
        )
        acknowledge_wildcards(self, own, "The edge's own prefixes, and objects have names of their own.")
