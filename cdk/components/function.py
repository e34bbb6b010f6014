"""One Lambda function of the bundle, with a role and a log group of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.acknowledged import acknowledge_wildcards
from cdk.bundle import PYTHON_VERSION, Bundle
from cdk.components.logs import retention
from cdk.config import Config

_RUNTIME = lambda_.Runtime(f"python{PYTHON_VERSION}", lambda_.RuntimeFamily.PYTHON)
_ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}

# What Lambda itself does with a function's role to put it into a VPC. It asks for these on every resource (Lambda guide,
# "Giving Lambda functions access to resources in an Amazon VPC").
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where in a VPC a function's network interfaces stand."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_group: ec2.ISecurityGroup


class BundleFunction(Construct):
    """`RegisterAssociation` is the handler `lambdas.handlers.register_association.handler`, named after the environment.

    The role may write to this function's log group; whatever else it needs is granted where the other end is in sight.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        config: Config,
        bundle: Bundle,
        environment: Mapping[str, str],
        timeout: Duration,
        memory_mebibytes: int,
        placement: Placement | None = None,
        reserved_concurrency: int | None = None,
        handler: str = "",
    ) -> None:
        """`handler` as a name such as `RegisterAssociation`, where it is not the function's own."""
        super().__init__(scope, name)
        function_name = f"{config.prefix}-{name}"
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/lambda/{function_name}",
            retention=retention(config),
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", role_name=function_name, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        acknowledge_wildcards(
            role, ["*"], "X-Ray, and what Lambda does to place a function in a VPC: IAM takes no resource for either."
        )
        if placement:
            _allow_interfaces(role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            runtime=_RUNTIME,
            architecture=_ARCHITECTURES[bundle.architecture],
            handler=f"lambdas.handlers.{_module(handler or name)}.handler",
            code=lambda_.Code.from_asset(str(bundle.path), asset_hash=bundle.digest),
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "LOG_LEVEL": "INFO",
                "AWS_SDK_UA_APP_ID": name,  # in every request, so that CloudTrail and access logs name the function
                **environment,
            },
            timeout=timeout,
            memory_size=memory_mebibytes,
            log_group=log_group,
            role=role,
            tracing=lambda_.Tracing.ACTIVE if config.operations.tracing else None,
            reserved_concurrent_executions=reserved_concurrency,
            vpc=placement.vpc if placement else None,
            vpc_subnets=placement.subnets if placement else None,
            security_groups=[placement.security_group] if placement else None,
        )


def _allow_interfaces(role: iam.Role) -> None:
    """Let Lambda place the function, and its code not: the code's calls come from the function itself."""
    role.add_to_policy(iam.PolicyStatement(actions=list(_INTERFACES), resources=["*"]))
    role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=list(_INTERFACES),
            resources=["*"],
            conditions={"Null": {"lambda:SourceFunctionArn": "false"}},
        )
    )


def _module(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
