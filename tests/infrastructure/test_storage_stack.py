"""The storage stack's template: what was acknowledged is encrypted, kept, and written by its environment alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.templates import listed, text

if TYPE_CHECKING:
    from tests.infrastructure.conftest import Environment
    from tests.support.templates import Template


def bucket(template: Template, name_ends: str = "eu-west-1") -> dict[str, Any]:
    found = [
        one for one in template.of("AWS::S3::Bucket").values() if text(one["Properties"]["BucketName"]).endswith(name_ends)
    ]
    (only,) = found
    return dict(only)


def refusals(template: Template) -> dict[str, Any]:
    statements = [
        statement
        for policy in template.of("AWS::S3::BucketPolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    return {statement["Sid"]: statement for statement in statements if "Sid" in statement}


def test_every_bucket_is_encrypted_versioned_private_and_outlives_its_stack(production: Environment) -> None:
    for one in production.stacks["storage"].of("AWS::S3::Bucket").values():
        properties = one["Properties"]
        assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_what_a_bucket_refuses_outlives_its_stack_with_it(production: Environment) -> None:
    template = production.stacks["storage"]
    policies = template.of("AWS::S3::BucketPolicy").values()
    assert len(policies) == len(template.of("AWS::S3::Bucket"))
    assert {(one["DeletionPolicy"], one["UpdateReplacePolicy"]) for one in policies} == {("Retain", "Retain")}


def test_objects_are_encrypted_with_a_key_that_rotates_and_that_this_environment_alone_uses_through_s3(
    production: Environment,
) -> None:
    template = production.stacks["storage"]
    ((name, key),) = template.of("AWS::KMS::Key").items()
    (rule,) = bucket(template)["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert text(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]) == f"{{{name}.Arn}}"
    assert key["Properties"]["EnableKeyRotation"] is True
    assert key["DeletionPolicy"] == "Retain"
    using = [one for one in key["Properties"]["KeyPolicy"]["Statement"] if "kms:Decrypt" in listed(one["Action"])]
    alarms = using.pop()
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    (statement,) = using
    assert statement["Condition"]["StringEquals"] == {
        "kms:ViaService": ["s3.eu-west-1.amazonaws.com", "sns.eu-west-1.amazonaws.com"]
    }
    assert listed(statement["Condition"]["ArnLike"]["aws:PrincipalArn"]) == ["arn:aws:iam::*:role/ahi-ingest-prod-*"]
    assert not any("kms:*" in listed(one["Action"]) for one in key["Properties"]["KeyPolicy"]["Statement"])


def test_nobody_deletes_what_was_acknowledged(production: Environment) -> None:
    statement = refusals(production.stacks["storage"])["NobodyDeletesWhatWasAcknowledged"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", {"AWS": "*"})
    assert "Condition" not in statement
    prefixes = {text(resource).partition("Arn}/")[2] for resource in statement["Resource"]}
    assert prefixes == {"instances/*", "quarantine/*", "manifests/*"}


def test_nothing_but_this_environment_puts_outside_of_external(production: Environment) -> None:
    statement = refusals(production.stacks["storage"])["OnlyThisEnvironmentPuts"]
    assert text(statement["NotResource"]).endswith("Arn}/external/*")
    assert statement["Condition"] == {"ArnNotLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/ahi-ingest-prod-*"]}}


def test_no_lifecycle_rule_expires_what_an_edge_sent(production: Environment) -> None:
    rules = bucket(production.stacks["storage"])["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = [rule for rule in rules if "ExpirationInDays" in rule]
    assert [rule["Prefix"] for rule in expiring] == ["retries/"]
    assert {rule["Id"] for rule in rules} == {"UnfinishedUploads", "OldVersions", "StagedCopies", "Archive"}


def test_object_lock_and_access_logs_are_as_configured(production: Environment, smallest: Environment) -> None:
    locked = bucket(production.stacks["storage"])["Properties"]
    assert locked["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 30}
    assert "ObjectLockConfiguration" not in bucket(smallest.stacks["storage"])["Properties"]
    logs = bucket(production.stacks["storage"], "-logs")
    assert logs["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "AES256"
    }
    assert "LoggingConfiguration" in locked


def test_external_objects_are_announced_by_a_queue_that_the_bucket_alone_may_send_to(production: Environment) -> None:
    template = production.stacks["storage"]
    (name, queue) = template.one("AWS::SQS::Queue", QueueName="ahi-ingest-prod-external")
    assert "RedrivePolicy" in queue["Properties"]
    announced = bucket(template)["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert [one["Event"] for one in announced] == ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    for one in announced:
        assert one["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "external/"}]
        assert text(one["Queue"]) == f"{{{name}.Arn}}"
    sending = [
        statement
        for policy in template.of("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (statement,) = sending
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert set(statement["Condition"]) == {"ArnEquals", "StringEquals"}


def test_an_existing_bucket_and_key_are_neither_made_nor_changed(brought: Environment) -> None:
    template = brought.stacks["storage"]
    for kind in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key"):
        assert not template.of(kind)
    assert template.body["Outputs"]["BucketName"]["Value"] == "a-bucket-of-ours"
