"""One Lambda function of the bundle, with a role and a log group of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.bundle import PYTHON_VERSION, Bundle

_RUNTIME = lambda_.Runtime(f"python{PYTHON_VERSION}", lambda_.RuntimeFamily.PYTHON)
_ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}


class BundleFunction(Construct):
    """`RegisterAssociation` is the handler `lambdas.handlers.register_association.handler`, named after `prefix`.

    The role may write to this function's log group; whatever else it needs is granted where the other end is in sight.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        prefix: str,
        bundle: Bundle,
        environment: Mapping[str, str],
        timeout: Duration,
        memory_mebibytes: int,
    ) -> None:
        super().__init__(scope, name)
        function_name = f"{prefix}-{name}"
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/lambda/{function_name}",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            runtime=_RUNTIME,
            architecture=_ARCHITECTURES[bundle.architecture],
            handler=f"lambdas.handlers.{_module(name)}.handler",
            code=lambda_.Code.from_asset(str(bundle.path), asset_hash=bundle.digest),
            environment={"POWERTOOLS_SERVICE_NAME": name, "LOG_LEVEL": "INFO", **environment},
            timeout=timeout,
            memory_size=memory_mebibytes,
            log_group=log_group,
            role=role,
        )


def _module(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
