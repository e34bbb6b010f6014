"""The synthesized ingest stack deploys to the AWS emulator, again and again, and what it deployed works."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from local import synth
from local.deploy import DeployError, deploy, register_machines
from local.ministack import MiniStack
from local.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.aws import Aws
    from local.mariadb import DatabaseAddress


@pytest.fixture(scope="session")
def assembly() -> Path:
    return synth.assembly()


@pytest.fixture(scope="module")
def outputs(aws: Aws, assembly: Path) -> dict[str, str]:
    return deploy(assembly, aws)


def test_a_deployed_function_runs_against_the_catalog(
    aws: Aws, outputs: dict[str, str], new_catalog_database: Callable[[], DatabaseAddress]
) -> None:
    address = dataclasses.asdict(new_catalog_database())
    secret = address | {"username": address.pop("user"), "dbname": address.pop("database")}
    aws.secrets.create_secret(Name=synth.SECRET, SecretString=json.dumps(secret))
    answer = aws.functions.invoke(FunctionName=outputs["MigrateCatalogFunctionName"])
    assert "FunctionError" not in answer, answer["Payload"].read()


def test_deploying_again_changes_nothing(aws: Aws, assembly: Path, outputs: dict[str, str]) -> None:
    before = aws.functions.get_function(FunctionName=outputs["MigrateCatalogFunctionName"])["Configuration"]
    assert deploy(assembly, aws) == outputs
    after = aws.functions.get_function(FunctionName=outputs["MigrateCatalogFunctionName"])["Configuration"]
    assert after["LastModified"] == before["LastModified"]


def test_the_outputs_name_what_was_made(aws: Aws, outputs: dict[str, str]) -> None:
    aws.s3.head_bucket(Bucket=outputs["BucketName"])
    for queue in ("InboundLocalUrl", "InboundLocalDeadLettersUrl", "EventDeadLettersUrl"):
        assert aws.sqs.get_queue_attributes(QueueUrl=outputs[queue], AttributeNames=["QueueArn"])["Attributes"]
    for machine in ("IngestStateMachineArn", "ImportStateMachineArn"):
        aws.stepfunctions.describe_state_machine(stateMachineArn=outputs[machine])


def test_the_engine_gets_the_deployed_machines_with_their_substitutions_made(aws: Aws, outputs: dict[str, str]) -> None:
    engine = RecordingEngine()
    register_machines(aws, engine)  # type: ignore[arg-type]  # stands in for the engine's clients
    assert engine.machines.keys() >= {"ahi-ingest-local-ingest", "ahi-ingest-local-import"}
    ingest = engine.machines["ahi-ingest-local-ingest"]
    assert "${" not in ingest
    assert ":function:ahi-ingest-local-RegisterAssociation" in ingest
    assert outputs["ImportStateMachineArn"] in ingest
    assert synth.DATASTORE_ID in engine.machines["ahi-ingest-local-import"]


def test_the_bucket_of_an_emulator_that_was_killed_is_taken_over_with_its_objects(assembly: Path, tmp_path: Path) -> None:
    emulator = MiniStack.start(tmp_path, free_port())
    try:
        bucket = deploy(assembly, emulator.aws)["BucketName"]
        emulator.aws.s3.put_object(Bucket=bucket, Key="kept", Body=b"bytes")
    finally:
        emulator.process.kill()
    with MiniStack.start(tmp_path, free_port()) as again:
        assert deploy(assembly, again.aws)["BucketName"] == bucket
        assert again.aws.s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"bytes"


def test_a_stack_that_fails_is_told_with_the_reason_and_makes_way_for_the_next(aws: Aws, tmp_path: Path) -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "deployed-after-all"}}
    broken = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "without-its-ending", "FifoQueue": True}}
    write_assembly(tmp_path, {"Queue": queue, "Broken": broken})
    with pytest.raises(DeployError, match=r"The stack broken was not deployed: .*Broken"):
        deploy(tmp_path, aws)
    write_assembly(tmp_path, {"Queue": queue})
    deploy(tmp_path, aws)
    assert aws.sqs.get_queue_url(QueueName="deployed-after-all")


def test_a_template_that_is_refused_is_told_with_the_reason(aws: Aws, tmp_path: Path) -> None:
    write_assembly(tmp_path, {"Unknown": {"Type": "AWS::HealthImaging::Datastore", "Properties": {}}})
    with pytest.raises(DeployError, match=r"The stack broken cannot be deployed: .*AWS::HealthImaging::Datastore"):
        deploy(tmp_path, aws)


class RecordingEngine:
    """The two calls that registering makes. The machines are known already, so each is updated after it was refused."""

    class exceptions:  # noqa: N801 - boto3's name
        class StateMachineAlreadyExists(Exception):  # noqa: N818 - boto3's name
            pass

    def __init__(self) -> None:
        self.machines: dict[str, str] = {}
        self.stepfunctions = self

    def create_state_machine(self, **_: Any) -> None:
        raise self.exceptions.StateMachineAlreadyExists

    def update_state_machine(self, *, stateMachineArn: str, definition: str, **_: Any) -> None:  # noqa: N803 - boto3's name
        self.machines[stateMachineArn.rpartition(":")[2]] = definition


def write_assembly(folder: Path, resources: dict[str, Any]) -> None:
    """A cloud assembly of one stack named `broken`."""
    template = json.dumps({"Resources": resources})
    (folder / "broken.template.json").write_text(template)
    destination = {"bucketName": "broken-assets-${AWS::AccountId}", "objectKey": "template.json"}
    files = {"template": {"source": {"path": "broken.template.json"}, "destinations": {"current": destination}}}
    (folder / "broken.assets.json").write_text(json.dumps({"files": files}))
    artifacts = {
        "broken.assets": {"type": "cdk:asset-manifest", "properties": {"file": "broken.assets.json"}},
        "broken": {
            "type": "aws:cloudformation:stack",
            "properties": {
                "templateFile": "broken.template.json",
                "stackTemplateAssetObjectUrl": "s3://broken-assets-${AWS::AccountId}/template.json",
            },
        },
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
