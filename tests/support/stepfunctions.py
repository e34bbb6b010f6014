"""Step Functions as the Lambdas see it: StartExecution and DescribeExecution, answered from a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.aws_endpoint import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:ingest"
_JSON = {"Content-Type": "application/x-amz-json-1.0"}


def execution_arn(name: str) -> str:
    return f"arn:aws:states:us-east-1:000000000000:execution:ingest:{name}"


@dataclass
class StepFunctionsTable:
    """`executions` by ARN, as DescribeExecution answers. A name is started once; `down` answers 500 to everything."""

    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    down: bool = False

    def __post_init__(self) -> None:
        self._endpoint = AwsEndpoint(self._answer)
        self.url = self._endpoint.url

    def put(self, name: str, document: str = "{}", *, status: str = "RUNNING", error: str = "", redrive_count: int = 0) -> str:
        """Let there be an execution, as it is now; its ARN."""
        arn = execution_arn(name)
        self.executions[arn] = {
            "executionArn": arn,
            "stateMachineArn": MACHINE,
            "name": name,
            "status": status,
            "startDate": 1.79e9,
            "input": document,
            "redriveCount": redrive_count,
        } | ({"error": error} if error else {})
        return arn

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], Any]:
        if self.down:
            return 500, _JSON, {"__type": "InternalServerError"}
        if "stateMachineArn" in body:
            if execution_arn(body["name"]) in self.executions:
                return 400, _JSON, {"__type": "ExecutionAlreadyExists", "message": "Execution Already Exists"}
            return 200, _JSON, {"executionArn": self.put(body["name"], body["input"]), "startDate": 1.79e9}
        found = self.executions.get(body["executionArn"])
        if found is None:
            return 400, _JSON, {"__type": "ExecutionDoesNotExist", "message": "Execution Does Not Exist"}
        return 200, _JSON, found

    def __enter__(self) -> Self:
        self._endpoint.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._endpoint.__exit__()
