"""The runner as the interpreter of one execution sees it: a place for events, and a way to functions and children."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.stepfunctions import names
from local.stepfunctions.context import json_text
from local.stepfunctions.errors import TASK_FAILED, ApiError, TaskError

if TYPE_CHECKING:
    from local.stepfunctions.execution import Execution
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.flow import Flow
    from local.stepfunctions.runner import Runner


class RunnersHost:
    """An interpreter's Host (interpreter.py), over the runner."""

    def __init__(self, runner: Runner, execution: Execution) -> None:
        self.clock = runner.clock
        self._runner = runner
        self._execution = execution

    def record(
        self,
        flow: Flow,
        type: str,  # noqa: A002
        details: dict[str, Any] | None = None,
        *,
        memo: dict[str, Any] | None = None,
        previous_id: int | None = None,
    ) -> None:
        self._runner.record(self._execution, flow, type, details, memo=memo, previous_id=previous_id)

    def note(self, flow: Flow, type: str, memo: dict[str, Any]) -> None:  # noqa: A002
        self._runner.note(self._execution, flow, type, memo)

    async def invoke(self, resource: str, arguments: Json) -> Json:
        return await self._runner.invoke(resource, arguments)

    def start_child(self, arguments: Json) -> tuple[str, Json]:
        try:
            name = arguments.get("Name")
            if name is not None:
                names.check_name(name)
            input_ = arguments.get("Input")
            input_text = json_text({} if input_ is None else input_)  # recorded on AWS: null is {} there
            child = self._runner.start(arguments["StateMachineArn"], name, input_text, parent=self._execution.arn)
        except ApiError as error:
            raise TaskError(f"StepFunctions.{error.code}Exception", names.service_text("AWSStepFunctions", error)) from error
        return child.arn, {"ExecutionArn": child.arn, "StartDate": int(child.started_at * 1000)}

    async def child_result(self, arn: str) -> Json:
        await self._runner.ended(arn)
        child = self._runner.get(arn)
        answer = names.child_description(child, *self._runner.log.first_and_last(arn))
        if child.status == "SUCCEEDED":
            return {**answer, "Input": json.loads(answer["Input"]), "Output": json.loads(answer["Output"])}
        raise TaskError(TASK_FAILED, json_text(answer))

    def stop_child(self, arn: str) -> None:
        self._runner.stop(arn, None, None)
