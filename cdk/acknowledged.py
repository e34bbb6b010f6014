"""Findings of cdk-nag (AwsSolutions and HIPAA.Security) that are meant to be so, each with its reason.

Whatever is not here fails tests/infrastructure/test_nag.py. Wildcards in a policy are acknowledged one by one, where they are
granted, by `acknowledge_wildcards`.
"""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Acknowledgment, App, Aws, Stack, Validations
from constructs import IConstruct

from cdk.config import Config

_EVERYWHERE = {
    "AwsSolutions-L1": "The runtime is the one whose wheels uv.lock holds and whose tests pass; it is supported by AWS.",
    "HIPAA.Security-IAMNoInlinePolicy": "Each policy belongs to one role, and is made and deleted with it.",
    "HIPAA.Security-CloudWatchLogGroupEncrypted": "CloudWatch Logs encrypts every group; lines hold ids and counts only.",
    "HIPAA.Security-LambdaDLQ": "State machines and queues retry these functions and keep what failed; those that are invoked "
    "asynchronously have a destination for failures, which is what Lambda recommends in place of a DLQ.",
}
_BY_STACK = {
    "network": {
        "HIPAA.Security-VPCDefaultSecurityGroupClosed": "Nothing uses the default group; closing it takes a Lambda of CDK's.",
        "HIPAA.Security-VPCNoUnrestrictedRouteToIGW": "There is a route only where the configuration asks for a NAT gateway.",
        "HIPAA.Security-VPCSubnetAutoAssignPublicIpDisabled": "Public subnets, for the NAT gateway that was asked for.",
    },
    "storage": {
        "HIPAA.Security-S3BucketReplicationEnabled": "S3 keeps objects in three zones, and HealthImaging has them too; "
        "a second region is the hospital's decision, and costs as much again.",
        "HIPAA.Security-S3BucketLoggingEnabled": "The configuration turned access logs off.",
        "HIPAA.Security-S3DefaultEncryptionKMS": "S3 delivers access logs to buckets with S3's own keys only; the bucket of "
        "objects has none but where the configuration chose so.",
        "AwsSolutions-S1": "The configuration turned access logs off.",
    },
    "catalog": {
        "AwsSolutions-RDS11": "MySQL's own port; security groups say who reaches it.",
        "AwsSolutions-RDS14": "Point-in-time recovery restores beside what is there; backtrack would rewind the whole cluster.",
        "HIPAA.Security-RDSEnhancedMonitoringEnabled": "It keeps a serverless cluster from its lowest capacity.",
        "HIPAA.Security-RDSInBackupPlan": "Aurora backs itself up, for as many days as the configuration says.",
        "HIPAA.Security-RDSLoggingEnabled[LogExport::audit]": "It logs statements, which hold patients' data.",
        "HIPAA.Security-RDSLoggingEnabled[LogExport::general]": "It logs statements, which hold patients' data.",
        "HIPAA.Security-RDSLoggingEnabled[LogExport::slowquery]": "It logs statements, which hold patients' data.",
        "HIPAA.Security-SecretsManagerUsingKMSKey": "The key of Secrets Manager: the secret is used in this account alone.",
        "HIPAA.Security-LambdaConcurrency": "Runs once for each deployment.",
        "HIPAA.Security-LambdaInsideVPC": "A catalog without a VPC; and CDK's provider of the trigger calls Lambda alone.",
    },
    "ingest": {
        "AwsSolutions-SQS3": "It is the queue of failures of a rule's targets.",
        "HIPAA.Security-LambdaConcurrency": "StartExecution is bounded by its event sources; the others are not reserved where "
        "the account's quota or an unknown database leaves nothing to reserve.",
        "HIPAA.Security-LambdaInsideVPC": "StartExecution reaches no catalog, only queues and Step Functions; and none "
        "stands in a VPC where the catalog does not.",
    },
    "edge": {
        "AwsSolutions-ECS2": "The receiver's settings hold no secret.",
        "AwsSolutions-ELB2": "A network load balancer logs TLS listeners only; the receiver logs every association.",
        "HIPAA.Security-ELBLoggingEnabled": "A network load balancer logs TLS listeners only; the receiver logs associations.",
        "HIPAA.Security-ELBv2ACMCertificateRequired": "DICOM's TLS ends in the receiver, with its own certificate.",
        "HIPAA.Security-EFSInBackupPlan": "A spool holds what is not in S3 yet, and a restored one would send it again.",
        "HIPAA.Security-EC2EBSInBackupPlan": "A spool holds what is not in S3 yet, and a restored one would send it again.",
        "CloudFormation-Validate::W9010": "The image is a setting: a newer one would replace the instance.",
    },
}


def acknowledge(app: App, config: Config) -> None:
    """Acknowledge the table's findings in every stack of the app."""
    _acknowledge(app, _EVERYWHERE)
    for child in app.node.children:
        if isinstance(child, Stack):
            kind = child.stack_name.removeprefix(f"{config.prefix}-").partition("-")[0]
            _acknowledge(child, _BY_STACK.get(kind, {}))


def acknowledge_wildcards(construct: IConstruct, resources: Iterable[str], reason: str) -> None:
    """Acknowledge those of a policy's resources that hold `*`, in the words by which cdk-nag names them."""
    _acknowledge(
        construct,
        {f"AwsSolutions-IAM5[Resource::{_flat(resource)}]": reason for resource in resources if "*" in resource},
    )


def _acknowledge(construct: IConstruct, findings: dict[str, str]) -> None:
    if findings:
        Validations.of(construct).acknowledge(
            *(Acknowledgment(id=_qualified(rule), reason=reason) for rule, reason in findings.items())
        )


def _qualified(rule: str) -> str:
    """A rule's name with that of its pack, which it begins with."""
    return rule if "::" in rule.partition("[")[0] else f"{rule.partition('-')[0]}::{rule}"


def _flat(resource: str) -> str:
    return resource.replace(Aws.ACCOUNT_ID, "<AWS::AccountId>").replace(Aws.PARTITION, "<AWS::Partition>")
