"""State machines and their executions, as operators deal with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from console.aws.told import told

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An execution as Step Functions tells it. `redrive_refusal` is AWS's reason why it cannot be redriven, else empty."""

    arn: str
    status: str
    started_at: datetime
    redrive_count: int
    redrive_refusal: str
    error: str
    input: Mapping[str, Any]


class Machines:
    """State machines and their executions."""

    def __init__(self, client: SFNClient) -> None:
        self._client = client

    def describe(self, execution_arn: str) -> Run | None:
        """The execution; None when Step Functions does not know it (it forgets 90 days after the end)."""
        with told("states:DescribeExecution"):
            try:
                answer = self._client.describe_execution(executionArn=execution_arn)
            except self._client.exceptions.ExecutionDoesNotExist:
                return None
        refusal = "" if answer.get("redriveStatus") == "REDRIVABLE" else answer.get("redriveStatusReason", "not redrivable")
        return Run(
            arn=execution_arn,
            status=answer["status"],
            started_at=answer["startDate"],
            redrive_count=answer.get("redriveCount", 0),
            redrive_refusal=refusal,
            error=answer.get("error", ""),
            input=json.loads(answer.get("input", "{}")),
        )

    def redrive(self, execution_arn: str, token: str) -> None:
        """RedriveExecution; the same token again within 15 minutes is the same redrive."""
        with told("states:RedriveExecution"):
            self._client.redrive_execution(executionArn=execution_arn, clientToken=token)

    def start(self, machine_arn: str, name: str, document: Mapping[str, Any]) -> str:
        """StartExecution; the execution's ARN. The same name and input is the same execution while that runs."""
        with told("states:StartExecution"):
            return self._client.start_execution(
                stateMachineArn=machine_arn, name=name, input=json.dumps(document, separators=(",", ":"))
            )["executionArn"]

    def definition_changed(self, execution_arn: str, machine_arn: str) -> bool:
        """Whether the machine has another definition now than the execution, which a redrive keeps to."""
        with told("states:DescribeStateMachineForExecution"):
            kept = self._client.describe_state_machine_for_execution(executionArn=execution_arn)
        with told("states:DescribeStateMachine"):
            current = self._client.describe_state_machine(stateMachineArn=machine_arn)
        return kept["definition"] != current["definition"]

    def executions(self, machine_arn: str) -> Iterator[str]:
        """The ARN of every execution that Step Functions still knows, most recent first."""
        with told("states:ListExecutions"):
            for page in self._client.get_paginator("list_executions").paginate(stateMachineArn=machine_arn):
                for execution in page["executions"]:
                    yield execution["executionArn"]

    def claimed_attempts(self, execution_arn: str) -> set[int]:
        """The attempts that an execution of `import` has claimed, by its history."""
        attempts: set[int] = set()
        with told("states:GetExecutionHistory"):
            for page in self._client.get_paginator("get_execution_history").paginate(executionArn=execution_arn):
                for event in page["events"]:
                    output = json.loads(event.get("taskSucceededEventDetails", {}).get("output", "{}"))
                    claimed = output.get("Payload")
                    if isinstance(claimed, dict) and "input_s3_uri" in claimed:
                        attempts.add(claimed["attempt"])
        return attempts
