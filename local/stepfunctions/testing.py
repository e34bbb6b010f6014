"""For tests of state machines: stub Lambdas and a stub HealthImaging, and what came of an execution.

See the package's docstring for an example.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.stepfunctions import resources
from local.stepfunctions.clock import FakeClock
from local.stepfunctions.engine import Engine
from local.stepfunctions.errors import TaskError
from local.stepfunctions.operations import history_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.stepfunctions.expressions import Json

    Stub = Callable[[Json], Json]


class Stubs:
    """An invoker of plain functions, for Lambdas by their name and for HealthImaging's operations (`startDICOMImportJob`).

    A function gets the Payload (an operation, its Arguments) and returns what the Lambda returns. It fails as a Lambda
    does: an exception it raises is an error by its class's name. To fail otherwise, raise TaskError.
    """

    def __init__(
        self, *, functions: Mapping[str, Stub] | None = None, medical_imaging: Mapping[str, Stub] | None = None
    ) -> None:
        self.calls: list[tuple[str, Json]] = []
        self._functions = dict(functions or {})
        self._medical_imaging = dict(medical_imaging or {})
        self._lock = threading.Lock()

    def called(self, name: str) -> list[Json]:
        """What this function or operation was called with, in order."""
        return [payload for called, payload in self.calls if called == name]

    def __call__(self, resource: str, arguments: Json) -> Json:
        if resource == resources.LAMBDA:
            name = arguments["FunctionName"].rpartition(":")[2]
            payload = arguments.get("Payload", {})
            return {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": self._act(self._functions, name, payload)}
        return self._act(self._medical_imaging, resource.removeprefix(resources.MEDICAL_IMAGING), arguments)

    def _act(self, stubs: Mapping[str, Stub], name: str, payload: Json) -> Json:
        with self._lock:
            self.calls.append((name, payload))
        if name not in stubs:
            raise TaskError("Lambda.ResourceNotFoundException", f"the test has no stub named '{name}'")
        try:
            return json.loads(json.dumps(stubs[name](payload)))
        except TaskError:
            raise
        except Exception as error:
            body = {"errorMessage": str(error), "errorType": type(error).__name__}
            raise TaskError(type(error).__name__, json.dumps(body)) from error


@dataclass(frozen=True)
class Outcome:
    """An execution as it stands: while it runs, `seconds` and the results are those so far."""

    arn: str
    status: str
    output: Json
    error: str | None
    cause: str | None
    seconds: float
    history: list[dict[str, Any]]  # as GetExecutionHistory tells it

    def types(self) -> list[str]:
        return [event["type"] for event in self.history]

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        """The details of every event of this type."""
        return [_details(event) for event in self.history if event["type"] == type_]

    def states(self) -> list[str]:
        """The states that were entered, in order."""
        return [_details(event)["name"] for event in self.history if event["type"].endswith("StateEntered")]


def run(
    definition: Json, input_: Json = None, invoke: Any = None, *, substitutions: Mapping[str, str] | None = None
) -> Outcome:
    """Runs one machine, given as text or JSON, on a fake clock, to its end. Raises ApiError when it is refused."""
    text = definition if isinstance(definition, str) else json.dumps(definition)
    with Engine(invoke or Stubs(), clock=FakeClock()) as engine:
        machine = engine.create_state_machine("machine", substitute(text, substitutions or {}))
        execution = engine.start_execution(machine.arn, input_text=json.dumps({} if input_ is None else input_))
        engine.wait(execution.arn)
        return outcome(engine, execution.arn)


def outcome(engine: Engine, arn: str) -> Outcome:
    execution, first, last = engine.first_and_last_event(arn)
    output = last.details.get("output") if last.type == "ExecutionSucceeded" else None
    return Outcome(
        arn=arn,
        status=execution.status,
        output=None if output is None else json.loads(output),
        error=None if execution.status == "RUNNING" else last.details.get("error"),
        cause=None if execution.status == "RUNNING" else last.details.get("cause"),
        seconds=round(last.at - first.at, 3),
        history=[history_event(event) for event in engine.history(arn)],
    )


def substitute(definition: str, values: Mapping[str, str]) -> str:
    """`${Name}` replaced as CloudFormation's DefinitionSubstitutions does. Raises KeyError for one without a value."""
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found.group(1)], definition) if values else definition


def _details(event: dict[str, Any]) -> dict[str, Any]:
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})
