"""Step Functions as the Lambdas see it: StartExecution, DescribeExecution and ListExecutions, answered from a table."""

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
    """`executions` by ARN in the order of their starts, as DescribeExecution answers. A name is started once; `down` answers
    500 to everything. What ended did so long ago, unless `put` says when."""

    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    down: bool = False

    def __post_init__(self) -> None:
        self._endpoint = AwsEndpoint(self._answer)
        self.url = self._endpoint.url

    def put(
        self,
        name: str,
        document: str = "{}",
        *,
        status: str = "RUNNING",
        error: str = "",
        redrive_count: int = 0,
        stopped_at: float = 1.79e9 + 60,
    ) -> str:
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
        }
        self.executions[arn] |= {"error": error} if error else {}
        self.executions[arn] |= {} if status == "RUNNING" else {"stopDate": stopped_at}
        return arn

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], Any]:
        if self.down:
            return 500, _JSON, {"__type": "InternalServerError"}
        if "name" in body:
            if execution_arn(body["name"]) in self.executions:
                return 400, _JSON, {"__type": "ExecutionAlreadyExists", "message": "Execution Already Exists"}
            return 200, _JSON, {"executionArn": self.put(body["name"], body["input"]), "startDate": 1.79e9}
        if "stateMachineArn" in body:
            wanted = body.get("statusFilter")
            listed = [one for one in reversed(self.executions.values()) if wanted in (None, one["status"])]
            return 200, _JSON, {"executions": listed[: body.get("maxResults", 1000)]}
        found = self.executions.get(body["executionArn"])
        if found is None:
            return 400, _JSON, {"__type": "ExecutionDoesNotExist", "message": "Execution Does Not Exist"}
        return 200, _JSON, found

    def __enter__(self) -> Self:
        self._endpoint.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._endpoint.__exit__()
