"""What a state's expressions can see (`$states`, the variables), and the limits of the data that passes between states.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local.stepfunctions import expressions
from local.stepfunctions.definition import ABSENT, Map, Parallel, Task
from local.stepfunctions.errors import DATA_LIMIT_EXCEEDED, QUERY_EVALUATION_ERROR, StateError
from local.stepfunctions.expressions import QueryError

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
        try:
            return expressions.evaluate(template, names, field=field, now=self._clock.now())
        except QueryError as error:
            raise _query_error(visit, error) from error

    def number(self, template: Json, field: str, flow: Flow, visit: Visit, *, minimum: int) -> int:
        value = self.value(template, field, flow, visit)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _query_error(visit, expressions.unexpected(str(template), field, "integer", value))
        if value < minimum:
            raise _query_error(visit, QueryError(field, f"The field '{field}' must be at least {minimum}, but was {value}."))
        return value

    def boolean(self, template: Json, field: str, flow: Flow, visit: Visit) -> bool:
        value = self.value(template, field, flow, visit)
        if not isinstance(value, bool):
            raise _query_error(visit, expressions.unexpected(str(template), field, "boolean", value))
        return value

    def items(self, state: Map, flow: Flow, visit: Visit) -> list[Json]:
        items = self.value(state.items, "Items", flow, visit, default=visit.input)
        if isinstance(items, list):
            return items
        if state.items is ABSENT:
            raise _query_error(visit, QueryError(None, f"Map state input must be an array but was: {json_text(items)}"))
        raise _query_error(visit, expressions.unexpected(str(state.items), "Items", "array", items))

    def end_of_wait(self, state: Wait, flow: Flow, visit: Visit) -> float:
        if state.timestamp is ABSENT:
            return visit.entered_at + self.number(state.seconds, "Seconds", flow, visit, minimum=0)
        value = self.value(state.timestamp, "Timestamp", flow, visit)
        seconds = timestamp_seconds(value)
        if seconds is None:
            reason = "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string"
            raise _query_error(visit, QueryError("Timestamp", f"{reason}: {value}"))
        return seconds

    def failure(self, state: Fail, flow: Flow, visit: Visit) -> StateError:
        """What a Fail state fails with."""
        return StateError(self._text(state.error, "Error", flow, visit), self._text(state.cause, "Cause", flow, visit))

    def _text(self, template: Json, field: str, flow: Flow, visit: Visit) -> str | None:
        value = self.value(template, field, flow, visit)
        if value is not None and not isinstance(value, str):
            raise _query_error(visit, expressions.unexpected(str(template), field, "string", value))
        return value


def _query_error(visit: Visit, error: QueryError) -> StateError:
    """States.QueryEvaluationError, told in the history by EvaluationFailed. The texts are AWS's."""
    cause = f"An error occurred while executing the state '{visit.state}' (entered at the event id #{visit.entered_id})."
    details = {"state": visit.state} | ({} if error.field is None else {"location": error.field})
    return StateError(QUERY_EVALUATION_ERROR, f"{cause} {error.reason}", event="EvaluationFailed", details=details)


def bindings(facts: Facts, flow: Flow, visit: Visit, *, map_item: Json = None, **more: Json) -> dict[str, Json]:
    """`more` is `result=` or `error_output=`, where a field can see one."""
    context: dict[str, Json] = {
        "Execution": facts.execution,
        "StateMachine": facts.state_machine,
        "State": {"Name": visit.state, "EnteredTime": timestamp_text(visit.entered_at)},
    }
    if isinstance(facts.states[visit.state], Task | Map | Parallel):  # those that can be retried
        context["State"]["RetryCount"] = sum(visit.retries.values())
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


def data_text(value: Json, of: str) -> str:
    """The data of a state or task as JSON. Raises StateError States.DataLimitExceeded."""
    text = json_text(value)
    if len(text) * 4 > MAX_DATA_BYTES and len(text.encode()) > MAX_DATA_BYTES:
        raise StateError(
            DATA_LIMIT_EXCEEDED,
            f"The state/task '{of}' returned a result with a size exceeding the maximum number of bytes service limit.",
        )
    return text


def timestamp_text(seconds: float) -> str:
    """As AWS writes timestamps in the context object: `2026-11-24T02:15:01.250Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_seconds(text: Json) -> float | None:
    """Of an RFC 3339 timestamp with a zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(text) if "T" in text else None
    except (TypeError, ValueError):
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()
