"""An execution in the engine: its summary always, its flows while it runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from local.stepfunctions.context import Facts, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stepfunctions.definition import Definition, Scope, State
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.flow import Flow
    from local.stepfunctions.interpreter import Interpreter

Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]

ENDS: Mapping[str, Status] = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionTimedOut": "TIMED_OUT",
    "ExecutionAborted": "ABORTED",
}


@dataclass(frozen=True)
class StatusChange:
    """An execution's status changed: `detail` is that of AWS's event "Step Functions Execution Status Change"."""

    execution_arn: str
    status: Status
    detail: Mapping[str, Any]


@dataclass(slots=True)
class Execution:
    arn: str
    name: str
    machine_arn: str
    revision: int  # the machine's when it started: an update does not change running executions
    number: int  # in the order of their starts
    started_at: float
    role_arn: str
    status: Status = "RUNNING"
    stopped_at: float | None = None  # None again while a redrive runs
    redrives: list[tuple[str | None, float]] = field(default_factory=list)  # client token and time, oldest first
    live: Live | None = None

    def snapshot(self) -> Execution:
        return replace(self, live=None, redrives=list(self.redrives))

    @property
    def redriven_at(self) -> float | None:
        return self.redrives[-1][1] if self.redrives else None

    def facts(self, definition: Definition, input_: Json) -> Facts:
        redriven = {} if self.redriven_at is None else {"RedriveTime": timestamp_text(self.redriven_at)}
        return Facts(
            execution={
                "Id": self.arn,
                "Input": input_,
                "Name": self.name,
                "RoleArn": self.role_arn,
                "StartTime": timestamp_text(self.started_at),
                "RedriveCount": len(self.redrives),
                **redriven,
            },
            state_machine={"Id": self.machine_arn, "Name": self.machine_arn.rpartition(":")[2]},
            states=_all_states(definition.scope),
        )


@dataclass(slots=True)
class Live:
    """What a running execution has in memory, all of it rebuilt from the log after a crash."""

    definition: Definition
    flow: Flow
    interpreter: Interpreter
    last_id: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def _all_states(scope: Scope) -> dict[str, State]:
    """Names are unique within a machine, whatever their depth (the parser sees to it)."""
    states = dict(scope.states)
    for state in scope.states.values():
        for inner in getattr(state, "branches", ()):
            states |= _all_states(inner)
        processor = getattr(state, "processor", None)
        if processor is not None:
            states |= _all_states(processor)
    return states
