"""What a state's expressions can see (`$states`, the variables), and the limits of the data that passes between states.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.stepfunctions import expressions
from local.stepfunctions.definition import ABSENT
from local.stepfunctions.errors import DATA_LIMIT_EXCEEDED, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stepfunctions.clock import Clock
    from local.stepfunctions.definition import Fail, State, Wait
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.flow import Flow, Visit

MAX_DATA_BYTES = 256 * 1024  # input or output of a task, state or execution, as UTF-8


@dataclass(frozen=True, slots=True)
class Facts:
    """What stays the same during an execution."""

    execution: Mapping[str, Json]  # $states.context.Execution
    state_machine: Mapping[str, Json]  # $states.context.StateMachine
    states: Mapping[str, State]  # all of the definition's, by name


class Evaluator:
    """Evaluates the fields of one execution's states. All methods raise StateError."""

    def __init__(self, facts: Facts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock

    def value(self, template: Json, field: str, flow: Flow, visit: Visit, *, default: Json = None, **more: Json) -> Json:
        """`default` where the definition has no such field. `more` is what `bindings` takes."""
        if template is ABSENT:
            return default
        names = bindings(self._facts, flow, visit, **more)
        return expressions.evaluate(template, names, field=field, now=self._clock.now())

    def number(self, template: Json, field: str, flow: Flow, visit: Visit, *, minimum: int) -> int:
        value = self.value(template, field, flow, visit)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise expressions.query_error(field, f"{field} must be an integer of at least {minimum}.")
        return value

    def end_of_wait(self, state: Wait, flow: Flow, visit: Visit) -> float:
        if state.timestamp is ABSENT:
            return visit.entered_at + self.number(state.seconds, "Seconds", flow, visit, minimum=0)
        value = self.value(state.timestamp, "Timestamp", flow, visit)
        try:
            return timestamp_seconds(value)
        except ValueError as error:
            raise expressions.query_error("Timestamp", str(error)) from error

    def failure(self, state: Fail, flow: Flow, visit: Visit) -> StateError:
        return StateError(self._text(state.error, "Error", flow, visit), self._text(state.cause, "Cause", flow, visit))

    def _text(self, template: Json, field: str, flow: Flow, visit: Visit) -> str | None:
        value = self.value(template, field, flow, visit)
        if value is not None and not isinstance(value, str):
            raise expressions.query_error(field, f"{field} must be a string.")
        return value


def bindings(facts: Facts, flow: Flow, visit: Visit, *, map_item: Json = None, **more: Json) -> dict[str, Json]:
    """`more` is `result=` or `error_output=`, where a field can see one."""
    context: dict[str, Json] = {
        "Execution": facts.execution,
        "StateMachine": facts.state_machine,
        "State": {
            "Name": visit.state,
            "EnteredTime": timestamp_text(visit.entered_at),
            "RetryCount": sum(visit.retries.values()),
        },
    }
    item = map_item or _map_item(flow)
    if item is not None:
        context["Map"] = {"Item": item}
    states: dict[str, Json] = {"input": visit.input, "context": context}
    if "result" in more:
        states["result"] = more["result"]
    if "error_output" in more:
        states["errorOutput"] = more["error_output"]
    return {**flow.scope(), "states": states}


def _map_item(flow: Flow) -> Json:
    around: Flow | None = flow
    while around is not None:
        if around.is_iteration:
            return {"Index": around.index, "Value": around.item}
        around = around.parent
    return None


def json_text(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def data_text(value: Json) -> str:
    """The data as JSON. Raises StateError States.DataLimitExceeded, which nothing can catch."""
    text = json_text(value)
    if len(text) * 4 > MAX_DATA_BYTES and len(text.encode()) > MAX_DATA_BYTES:
        raise StateError(
            DATA_LIMIT_EXCEEDED,
            f"The state returned data with a size exceeding the maximum number of bytes ({MAX_DATA_BYTES}).",
        )
    return text


def timestamp_text(seconds: float) -> str:
    """As AWS writes timestamps in the context object: `2026-11-24T02:15:01.250Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_seconds(text: Any) -> float:
    """Raises ValueError unless the text is an RFC 3339 timestamp with a zone."""
    if not isinstance(text, str) or "T" not in text:
        raise ValueError("Timestamp must be an RFC 3339 timestamp.")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("Timestamp must have a time zone.")
    return moment.timestamp()
