"""The receiver on a gateway in the hospital, as a Greengrass v2 component.

Whoever installs a gateway makes its certificate there and puts its thing into the group; all else follows: the group's
deployment brings the component, and the role alias its credentials (docs/deploy.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_greengrassv2 as greengrass
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from cdk.bundle import Bundle
from cdk.components.receivers import ReceiverProps
from cdk.tools import ROOT

_MARKER = re.compile(r"\$\{Token\[[^]]*\]\}")
_DRAIN_SECONDS = 60  # longer than the recipe's Shutdown
_THING = "${iot:Connection.Thing.ThingName}"


class GreengrassReceiver(Construct):
    """A thing group with its identity, and the deployment that brings the receiver to each gateway in it."""

    def __init__(self, scope: Construct, construct_id: str, *, props: ReceiverProps, bundle: Bundle) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        artifact = assets.Asset(self, "Artifact", path=str(bundle.path), asset_hash=bundle.digest)
        role = iam.Role(
            self,
            "Role",
            role_name=props.name,
            assumed_by=iam.ServicePrincipal("credentials.iot.amazonaws.com"),
            managed_policies=[props.policy],
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[artifact.bucket.arn_for_objects(artifact.s3_object_key)])
        )
        alias = iot.CfnRoleAlias(self, "RoleAlias", role_alias=props.name, role_arn=role.role_arn)
        iot.CfnPolicy(
            self, "DevicePolicy", policy_name=props.name, policy_document=_device_policy(stack, alias.attr_role_alias_arn)
        )
        group = iot.CfnThingGroup(self, "Gateways", thing_group_name=props.name)
        component = greengrass.CfnComponentVersion(
            self, "Component", inline_recipe=stack.to_json_string(_recipe(props, bundle, artifact))
        )
        greengrass.CfnDeployment(
            self,
            "Deployment",
            target_arn=group.attr_arn,
            deployment_name=props.name,
            components={
                _component_name(props): greengrass.CfnDeployment.ComponentDeploymentSpecificationProperty(
                    component_version=component.attr_component_version
                )
            },
            deployment_policies=greengrass.CfnDeployment.DeploymentPoliciesProperty(
                failure_handling_policy="ROLLBACK",
                component_update_policy=greengrass.CfnDeployment.DeploymentComponentUpdatePolicyProperty(
                    action="NOTIFY_COMPONENTS", timeout_in_seconds=_DRAIN_SECONDS
                ),
            ),
        )


def _component_name(props: ReceiverProps) -> str:
    return f"{props.name}.receiver".replace("-", ".")


def _version(recipe: Mapping[str, Any], bundle: Bundle) -> str:
    """A version for each recipe and bundle: Greengrass refuses to change one. A deployment names it, so no order is needed.

    What only CloudFormation knows is left out, by CDK's markers for it, whose numbers differ from one synthesis to another.
    """
    known = _MARKER.sub("", json.dumps(recipe, sort_keys=True))
    digest = hashlib.sha256(f"{bundle.digest} {known}".encode()).hexdigest()
    numbers = (int(digest[:8], 16) % 1_000_000, int(digest[8:16], 16) % 1_000_000)
    return f"1.{numbers[0]}.{numbers[1]}"


def _recipe(props: ReceiverProps, bundle: Bundle, artifact: assets.Asset) -> dict[str, Any]:
    """The recipe of packaging/, of this edge and this bundle."""
    recipe: dict[str, Any] = json.loads((ROOT / "packaging" / "greengrass" / "recipe.json").read_text(encoding="utf-8"))
    recipe["ComponentName"] = _component_name(props)
    recipe["ComponentConfiguration"]["DefaultConfiguration"] |= {
        "edge_id": props.edge,
        "bucket": props.bucket_name,
        "queue_url": props.queue_url,
        "port": str(props.settings.dicom_port),
    }
    (manifest,) = recipe["Manifests"]
    manifest["Platform"]["architecture"] = "aarch64" if bundle.architecture == "arm64" else "amd64"
    manifest["Artifacts"][0]["Uri"] = artifact.s3_object_url
    lifecycle = manifest["Lifecycle"]
    # Greengrass unpacks an artifact into a folder that is named as the file is.
    lifecycle["Setenv"] |= {
        "PYTHONPATH": f"{{artifacts:decompressedPath}}/{artifact.asset_hash}",
        "AWS_REGION": props.region,
        **props.commitment,
    }
    recipe["ComponentVersion"] = _version(recipe, bundle)
    return recipe


def _device_policy(stack: Stack, role_alias_arn: str) -> dict[str, object]:
    """Greengrass v2 guide, "Minimal AWS IoT policy for AWS IoT Greengrass V2 core devices", for the device that connects."""

    def topics(kind: str, *paths: str) -> list[str]:
        return [stack.format_arn(service="iot", resource=kind, resource_name=f"$aws/things/{_THING}/{path}") for path in paths]

    client = stack.format_arn(service="iot", resource="client", resource_name=f"{_THING}*")
    reports = ("greengrass/health/json", "greengrassv2/health/json", "jobs/*", "shadow/*")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": client},
            {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": topics("topic", *reports)},
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": topics("topicfilter", "jobs/*", "shadow/*")},
            {"Effect": "Allow", "Action": "iot:AssumeRoleWithCertificate", "Resource": role_alias_arn},
            {
                "Effect": "Allow",
                "Action": [
                    "greengrass:GetComponentVersionArtifact",
                    "greengrass:ResolveComponentCandidates",
                    "greengrass:GetDeploymentConfiguration",
                    "greengrass:ListThingGroupsForCoreDevice",
                ],
                "Resource": "*",
            },
        ],
    }
