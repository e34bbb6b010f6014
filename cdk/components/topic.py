"""A topic that this environment and its alarms publish to."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


def make_topic(scope: Construct, construct_id: str, *, topic_name: str, key: kms.IKey | None) -> sns.Topic:
    """Messages hold ids, counts and the names of errors, no patient data; they are encrypted where there is a key."""
    return sns.Topic(scope, construct_id, topic_name=topic_name, enforce_ssl=True, master_key=key)


def let_alarms_publish(topic: sns.Topic, *, account: str) -> None:
    """A topic with a policy of its own, as this one that refuses plain HTTP, does not let this account's alarms in by itself.

    Source: SNS guide, "Allow publish from CloudWatch alarms", for one account.
    """
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AlarmsArePublished",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": account}},
        )
    )


def grant_publish(topic: sns.ITopic, grantee: iam.IGrantable, *, key: kms.IKey | None) -> None:
    """Let `grantee` publish. The key's policy knows this environment already (cdk/stacks/storage.py)."""
    principal = grantee.grant_principal
    principal.add_to_principal_policy(iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn]))
    if key:
        principal.add_to_principal_policy(
            iam.PolicyStatement(actions=["kms:GenerateDataKey", "kms:Decrypt"], resources=[key.key_arn])
        )
