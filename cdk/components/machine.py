"""One state machine, defined by its file in `workflows`."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import ArnFormat, Aws, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

import workflows
from cdk.acknowledged import acknowledge_wildcards
from cdk.components.logs import retention
from cdk.config import Config


class Machine(Construct):
    """A Standard state machine with a role and a log group of its own.

    Timeouts stand in the definition: `timeout=` has no effect on a definition that is given as text. Its logs hold no
    input or output of states.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, machine: str, substitutions: Mapping[str, str]
    ) -> None:
        super().__init__(scope, construct_id)
        name = machine_name(config, machine)
        self.role = iam.Role(self, "Role", role_name=f"{name}-machine", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        acknowledge_wildcards(
            self.role, ["*"], "Log delivery and X-Ray: IAM knows no resource for what Step Functions does there."
        )
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/vendedlogs/states/{name}",  # under vendedlogs, AWS needs no resource policy for each group
            retention=retention(config),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(workflows.definition(machine)),
            definition_substitutions=dict(substitutions),
            role=self.role,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=config.operations.tracing,
        )


def machine_name(config: Config, machine: str) -> str:
    """The name of a machine of `workflows` in an environment."""
    return f"{config.prefix}-{machine}"


def machine_arn(scope: Construct, name: str) -> str:
    """The ARN of the machine that has, or will have, this name.

    Built from the name, because functions that a machine invokes may need its ARN, and CloudFormation orders no circles.
    """
    return Stack.of(scope).format_arn(
        service="states", resource="stateMachine", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def executions_arn(scope: Construct, name: str) -> str:
    """The ARN that stands for every execution of that machine."""
    return f"arn:aws:states:{Stack.of(scope).region}:{Aws.ACCOUNT_ID}:execution:{name}:*"
