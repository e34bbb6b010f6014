"""Deploys a synthesized CDK app to the AWS emulator as the CDK CLI does to AWS: assets, then one change set for each stack.

Resources that exist and have a fixed name are taken over (ImportExistingResources): after a kill -9 the emulator knows the
bucket and its objects, but not the stack. State machines are registered a second time, under the same ARN and with their
substitutions made, in our own Step Functions engine, which is the one that runs them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError, WaiterError

from local.aws import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.aws import Aws

_BOOTSTRAP_VERSION = "/cdk-bootstrap/hnb659fds/version"
_NEWEST_BOOTSTRAP = "30"


class DeployError(Exception):
    """A stack could not be deployed. The text says which, and what CloudFormation said."""


def deploy(assembly: Path, aws: Aws) -> dict[str, str]:
    """Deploy every stack of the cloud assembly in the folder, in order, and return their outputs.

    Raises DeployError.
    """
    artifacts: Mapping[str, Any] = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    aws.ssm.put_parameter(Name=_BOOTSTRAP_VERSION, Value=_NEWEST_BOOTSTRAP, Type="String", Overwrite=True)
    for artifact in artifacts.values():
        if artifact["type"] == "cdk:asset-manifest":
            _publish(assembly, artifact["properties"]["file"], aws)
    outputs: dict[str, str] = {}
    for name, artifact in artifacts.items():
        if artifact["type"] == "aws:cloudformation:stack":
            bucket, _, key = _local(artifact["properties"]["stackTemplateAssetObjectUrl"]).removeprefix("s3://").partition("/")
            outputs |= _deploy_stack(name, f"{aws.endpoint_url}/{bucket}/{key}", aws)
    return outputs


def register_machines(deployed: Aws, engine: Aws) -> None:
    """Register every deployed state machine in the engine, or update it there. Raises the engine's ClientError."""
    for page in deployed.stepfunctions.get_paginator("list_state_machines").paginate():
        for listed in page["stateMachines"]:
            machine = deployed.stepfunctions.describe_state_machine(stateMachineArn=listed["stateMachineArn"])
            try:
                engine.stepfunctions.create_state_machine(
                    name=machine["name"], definition=machine["definition"], roleArn=machine["roleArn"], type="STANDARD"
                )
            except engine.stepfunctions.exceptions.StateMachineAlreadyExists:
                engine.stepfunctions.update_state_machine(
                    stateMachineArn=machine["stateMachineArn"], definition=machine["definition"], roleArn=machine["roleArn"]
                )


def _publish(assembly: Path, asset_manifest: str, aws: Aws) -> None:
    """Put the files of an asset manifest where the templates look for them, unless they are there."""
    files: Mapping[str, Any] = json.loads((assembly / asset_manifest).read_text())["files"]
    for file in files.values():
        for destination in file["destinations"].values():
            bucket, key = _local(destination["bucketName"]), _local(destination["objectKey"])
            _ensure_bucket(bucket, aws)
            content = (assembly / file["source"]["path"]).read_bytes()
            if not _holds(bucket, key, content, aws):
                aws.s3.put_object(Bucket=bucket, Key=key, Body=content)


def _local(text: str) -> str:
    return text.replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", REGION).replace("${AWS::Partition}", "aws")


def _ensure_bucket(bucket: str, aws: Aws) -> None:
    try:
        aws.s3.head_bucket(Bucket=bucket)
    except ClientError:
        aws.s3.create_bucket(Bucket=bucket)


def _holds(bucket: str, key: str, content: bytes, aws: Aws) -> bool:
    try:
        head = aws.s3.head_object(Bucket=bucket, Key=key)
    except ClientError:
        return False
    return head["ETag"].strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()


def _deploy_stack(name: str, template_url: str, aws: Aws) -> dict[str, str]:
    cloudformation = aws.cloudformation
    exists = _make_way(name, aws)
    try:
        change_set = cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=f"up-{uuid4().hex[:12]}",
            ChangeSetType="UPDATE" if exists else "CREATE",
            TemplateURL=template_url,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            ImportExistingResources=True,
            DisableValidation=True,  # the emulator's counts a bucket that is to be imported as a conflict of names
        )["Id"]
    except ClientError as error:
        raise DeployError(f"The stack {name} cannot be deployed: {error.response['Error']['Message']}") from error
    try:
        created = cloudformation.get_waiter("change_set_create_complete")
        created.wait(ChangeSetName=change_set, StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    except WaiterError as error:
        reason = cloudformation.describe_change_set(ChangeSetName=change_set, StackName=name).get("StatusReason", "")
        if "didn't contain changes" in reason:
            return _outputs(name, aws)
        raise DeployError(f"The stack {name} cannot be deployed: {reason}") from error
    cloudformation.execute_change_set(ChangeSetName=change_set, StackName=name)
    try:
        if exists:
            updated = cloudformation.get_waiter("stack_update_complete")
            updated.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
        else:
            made = cloudformation.get_waiter("stack_create_complete")
            made.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    except WaiterError as error:
        raise DeployError(f"The stack {name} was not deployed: {_failures(name, aws)}") from error
    return _outputs(name, aws)


def _make_way(name: str, aws: Aws) -> bool:
    """Whether the stack is there to be updated. What is left of one that failed is deleted, as CloudFormation asks."""
    try:
        status = aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError:
        return False
    if status in {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}:
        aws.cloudformation.delete_stack(StackName=name)
        gone = aws.cloudformation.get_waiter("stack_delete_complete")
        gone.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return False
    return status != "REVIEW_IN_PROGRESS"  # a change set was made, and never executed


def _outputs(name: str, aws: Aws) -> dict[str, str]:
    stack = aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _failures(name: str, aws: Aws) -> str:
    events = aws.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [
        f"{event.get('LogicalResourceId')}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event.get("ResourceStatus", "").endswith("FAILED")
    ]
    return "; ".join(failed) or "CloudFormation gave no reason"
