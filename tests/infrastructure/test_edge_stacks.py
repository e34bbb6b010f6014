"""Edge stacks: a receiver may write its own prefixes and announce on its own queue, and no two tasks ever share a spool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cdk.bundle import PYTHON_VERSION
from cdk.tools import ROOT
from tests.infrastructure.conftest import PRODUCTION, synthesize
from tests.support.templates import Template, listed, text

if TYPE_CHECKING:
    from pathlib import Path

    from cdk.bundle import Bundle
    from tests.infrastructure.conftest import Environment

EDGES = {"main-campus": "greengrass", "clinic-2": "ecs", "clinic-3": "ec2"}
ASKING = {"main-campus", "clinic-3"}


def policy(template: Template) -> tuple[str, dict[str, set[str]]]:
    """The logical id of the edge's policy, and what it allows: action -> resources, rendered."""
    ((name, one),) = template.of("AWS::IAM::ManagedPolicy").items()
    allowed: dict[str, set[str]] = {}
    for statement in one["Properties"]["PolicyDocument"]["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            allowed.setdefault(action, set()).update(text(resource) for resource in listed(statement["Resource"]))
    return name, allowed


@pytest.mark.parametrize("edge", EDGES)
def test_a_receiver_may_write_below_its_own_prefixes_and_send_to_its_own_queue_and_nothing_else(
    production: Environment, edge: str
) -> None:
    _, allowed = policy(production.stacks[f"edge-{edge}"])
    own = {f"instances/{edge}/*", f"quarantine/{edge}/*", f"manifests/{edge}/*"}
    keys = {
        action: {one.partition("eu-west-1/")[2] for one in allowed[action]} for action in allowed if action.startswith("s3:")
    }
    assert keys == {
        "s3:PutObject": own | {f"status/{edge}.json"},
        "s3:AbortMultipartUpload": own | {f"status/{edge}.json"},
        "s3:GetObject": own,
    }
    (queue,) = allowed["sqs:SendMessage"]
    assert f"Inbound{''.join(word.capitalize() for word in edge.split('-'))}" in queue
    asks = {"lambda:InvokeFunction"} if edge in ASKING else set()
    assert allowed.keys() - keys.keys() == {"sqs:SendMessage", "kms:GenerateDataKey", "kms:Decrypt"} | asks
    if asks:
        (function,) = allowed["lambda:InvokeFunction"]
        assert function.endswith(f":function:ahi-ingest-prod-answer-{edge}")


@pytest.mark.parametrize("edge", EDGES)
def test_the_receivers_role_carries_the_policy_and_no_managed_one_of_aws(production: Environment, edge: str) -> None:
    template = production.stacks[f"edge-{edge}"]
    name, _ = policy(template)
    _, role = template.one("AWS::IAM::Role", RoleName=f"ahi-ingest-prod-edge-{edge}")
    assert role["Properties"]["ManagedPolicyArns"] == [{"Ref": name}]


def test_an_edge_elsewhere_gets_its_policy_and_nothing_more(brought: Environment) -> None:
    assert {one["Type"] for one in brought.stacks["edge-here"].body["Resources"].values()} == {"AWS::IAM::ManagedPolicy"}


def test_a_greengrass_gateway_gets_the_receiver_by_its_groups_deployment(production: Environment) -> None:
    template = production.stacks["edge-main-campus"]
    ((component, resource),) = template.of("AWS::GreengrassV2::ComponentVersion").items()
    recipe = json.loads(text(resource["Properties"]["InlineRecipe"]))
    ((_, deployment),) = template.of("AWS::GreengrassV2::Deployment").items()
    assert deployment["Properties"]["Components"].keys() == {recipe["ComponentName"]}
    (version,) = deployment["Properties"]["Components"].values()
    assert text(version["ComponentVersion"]) == f"{{{component}.ComponentVersion}}"
    assert all(int(number) <= 999_999 for number in recipe["ComponentVersion"].split("."))
    (manifest,) = recipe["Manifests"]
    (artifact,) = manifest["Artifacts"]
    unpacked = manifest["Lifecycle"]["Setenv"]["PYTHONPATH"].rpartition("/")[2]
    assert artifact["Uri"].endswith(f"/{unpacked}.zip")  # Greengrass unpacks an artifact into a folder of its name
    assert manifest["Lifecycle"]["Run"]["Script"].endswith("-m receiver")


@pytest.mark.parametrize("edge", ["main-campus", "clinic-2", "clinic-3"])
def test_a_receiver_is_told_its_edge_its_bucket_its_queue_and_its_spool(production: Environment, edge: str) -> None:
    told = environment_of(production.stacks[f"edge-{edge}"], EDGES[edge])
    assert told["AHI_INGEST_EDGE_ID"] == edge
    assert told.keys() >= {
        "AHI_INGEST_EDGE_ID",
        "AHI_INGEST_BUCKET",
        "AHI_INGEST_QUEUE_URL",
        "AHI_INGEST_SPOOL",
        "AHI_INGEST_PORT",
        "AWS_REGION",
    }


@pytest.mark.parametrize("edge", EDGES)
def test_a_receiver_waits_for_imports_where_its_edge_says_so(production: Environment, edge: str) -> None:
    told = environment_of(production.stacks[f"edge-{edge}"], EDGES[edge])
    given = {name: value for name, value in told.items() if "COMMITMENT" in name}
    if edge in ASKING:
        assert given.pop("AHI_INGEST_COMMITMENT_FUNCTION").endswith(f":function:ahi-ingest-prod-answer-{edge}")
        assert given == {"AHI_INGEST_COMMITMENT_AFTER": "healthimaging"}
    else:
        assert given == {}


def environment_of(template: Template, receiver: str) -> dict[str, Any]:
    if receiver == "greengrass":
        ((_, component),) = template.of("AWS::GreengrassV2::ComponentVersion").items()
        recipe = json.loads(text(component["Properties"]["InlineRecipe"]))
        (manifest,) = recipe["Manifests"]
        defaults = recipe["ComponentConfiguration"]["DefaultConfiguration"]
        return {
            name: defaults[value.removeprefix("{configuration:/").removesuffix("}")] if "{configuration:/" in value else value
            for name, value in manifest["Lifecycle"]["Setenv"].items()
        }
    if receiver == "ecs":
        ((_, task),) = template.of("AWS::ECS::TaskDefinition").items()
        (container,) = task["Properties"]["ContainerDefinitions"]
        return {one["Name"]: text(one["Value"]) for one in container["Environment"]}
    lines = [text(line) for line in installation(template)]
    settings = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    return dict(setting.split("=", 1) for setting in settings if not setting.startswith("PYTHONPATH="))


def installation(template: Template) -> list[Any]:
    ((_, association),) = template.of("AWS::SSM::Association").items()
    commands: list[Any] = association["Properties"]["Parameters"]["commands"]
    return commands


def test_a_deployment_never_runs_two_tasks_on_one_spool(production: Environment) -> None:
    ((_, service),) = production.stacks["edge-clinic-2"].of("AWS::ECS::Service").items()
    deployment = service["Properties"]["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
    assert service["Properties"]["DesiredCount"] == 1


def test_a_task_writes_to_its_spool_alone_which_is_encrypted_and_outlives_it(production: Environment) -> None:
    template = production.stacks["edge-clinic-2"]
    ((_, task),) = template.of("AWS::ECS::TaskDefinition").items()
    (container,) = task["Properties"]["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert [point["ContainerPath"] for point in container["MountPoints"]] == ["/var/lib/ahi-ingest/spool"]
    (volume,) = task["Properties"]["Volumes"]
    assert volume["EFSVolumeConfiguration"]["TransitEncryption"] == "ENABLED"
    ((_, files),) = template.of("AWS::EFS::FileSystem").items()
    assert files["Properties"]["Encrypted"] is True
    assert files["DeletionPolicy"] == "Retain"


def test_modalities_reach_the_load_balancer_from_their_networks_alone(production: Environment) -> None:
    template = production.stacks["edge-clinic-2"]
    ((_, balancer),) = template.of("AWS::ElasticLoadBalancingV2::LoadBalancer").items()
    assert (balancer["Properties"]["Type"], balancer["Properties"]["Scheme"]) == ("network", "internal")
    sources = {
        rule["CidrIp"]
        for group in template.of("AWS::EC2::SecurityGroup").values()
        for rule in group["Properties"].get("SecurityGroupIngress", [])
    }
    assert sources == {"10.1.0.0/16"}
    ((_, listener),) = template.of("AWS::ElasticLoadBalancingV2::Listener").items()
    assert listener["Properties"]["Port"] == 11112


def test_an_instance_keeps_its_spool_on_a_disk_that_is_encrypted_and_outlives_it(production: Environment) -> None:
    template = production.stacks["edge-clinic-3"]
    ((_, disk),) = template.of("AWS::EC2::Volume").items()
    assert (disk["Properties"]["Encrypted"], disk["DeletionPolicy"]) == (True, "Retain")
    ((_, instance),) = template.of("AWS::EC2::Instance").items()
    assert instance["Properties"]["DisableApiTermination"] is True


def test_an_instance_runs_the_packaged_unit_and_what_is_its_own_stands_beside_it(production: Environment) -> None:
    script = "\n".join(str(text(line)) for line in installation(production.stacks["edge-clinic-3"]))
    unit = (ROOT / "packaging" / "ahi-ingest.service").read_text()
    assert f"cat > /etc/systemd/system/ahi-ingest.service <<'END'\n{unit}END\n" in script
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit  # for port 104 as no root
    own = script.split("edge.conf <<'END'\n")[1].split("\nEND")[0].splitlines()
    assert own[own.index("ExecStart=") + 1] == f"ExecStart=/usr/bin/python{PYTHON_VERSION} -m receiver"
    assert "UnsetEnvironment=AHI_INGEST_CONFIG" in own
    assert "Environment=AHI_INGEST_EDGE_ID=clinic-3" in own


def test_a_gateway_runs_the_python_that_the_bundle_is_for(production: Environment) -> None:
    ((_, component),) = production.stacks["edge-main-campus"].of("AWS::GreengrassV2::ComponentVersion").items()
    assert f"exec python{PYTHON_VERSION} -m receiver" in text(component["Properties"]["InlineRecipe"])


def test_a_file_system_is_made_on_a_spools_disk_only_where_there_is_none(production: Environment) -> None:
    lines = [str(text(line)) for line in installation(production.stacks["edge-clinic-3"])]
    (making,) = [line for line in lines if "mkfs" in line]
    assert making.startswith("blkid $disk >/dev/null || ")
    waits = lines.index("for second in $(seq 120); do test -b /dev/sdf && break; sleep 1; done")
    assert waits < lines.index(making)


def test_the_receiver_is_installed_once_its_disk_is_attached_and_a_deployment_waits_for_that(production: Environment) -> None:
    template = production.stacks["edge-clinic-3"]
    ((attachment, _),) = template.of("AWS::EC2::VolumeAttachment").items()
    ((_, association),) = template.of("AWS::SSM::Association").items()
    assert attachment in listed(association["DependsOn"])
    assert association["Properties"]["WaitForSuccessTimeoutSeconds"] > 1800


def test_another_setting_or_another_edge_of_a_kind_collides_with_nothing(
    production: Environment, bundle: Bundle, certificate_authority: Path, tmp_path: Path
) -> None:
    edges = PRODUCTION["edges"]
    changed = {
        "main-campus": edges["main-campus"] | {"dicom_port": 104},
        "clinic-3": edges["clinic-3"],
        "clinic-4": edges["clinic-3"],
    }
    table = PRODUCTION | {"edges": changed}
    other = synthesize(table, bundle=bundle, certificate_authority=certificate_authority, output=tmp_path)

    def version(environment: Environment) -> str:
        ((_, component),) = environment.stacks["edge-main-campus"].of("AWS::GreengrassV2::ComponentVersion").items()
        return str(json.loads(text(component["Properties"]["InlineRecipe"]))["ComponentVersion"])

    assert version(other) != version(production), "a component's version cannot be changed"
    names = [
        str(one["Properties"]["LaunchTemplateName"])
        for edge in ("clinic-3", "clinic-4")
        for one in other.stacks[f"edge-{edge}"].of("AWS::EC2::LaunchTemplate").values()
    ]
    assert len(set(names)) == 2
