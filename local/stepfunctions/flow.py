"""What an execution's events add up to: where each of its flows stands.

A flow is a line of states: the execution's own (path `""`), a Parallel branch's, or a Map iteration's (`"3"`, `"3/0"`:
the index below the flow that holds the Map or Parallel state). A flow stands in at most one state at a time, its visit.

Invariant: a flow changes by `apply` alone, running or recovering. So what the interpreter knows after an event is what
it would know after a crash at that point, and RedriveExecution is one more event to apply.

Beside AWS's events there are notes, which the history does not show: WaitUntil (a Wait's end), RetryDue (which retrier,
and when), FlowFailed (nothing retried or caught it).

`last_id` is the previousEventId of a flow's next event. Its rules are AWS's, as recorded there (README.md).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.stepfunctions.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stepfunctions.expressions import Json
    from local.stepfunctions.log import Event

_ASIDE = ("MapIterationFailed", "MapIterationAborted", "MapStateSucceeded", "ParallelStateSucceeded")  # nothing follows them


@dataclass(slots=True)
class Attempt:
    """A call of a Task's resource that has been scheduled, and has no result yet."""

    arguments: Json
    timeout_seconds: int | None
    child_arn: str | None = None  # the execution it started


@dataclass(slots=True)
class Visit:
    """One stay in a state, from its ...StateEntered to its ...StateExited."""

    state: str
    input: Json
    entered_at: float
    entered_id: int
    entered_after: int
    until: float | None = None  # a Wait's end
    retries: Counter[int] = field(default_factory=Counter)  # by the retrier's index
    retry_at: float | None = None
    attempt: Attempt | None = None
    inputs: list[Json] | None = None  # of a Map's items or a Parallel's branches, once started
    flows: dict[int, Flow] = field(default_factory=dict)
    follow_id: int = 0  # what the next MapIterationStarted follows
    failed: int | None = None  # the index of the flow that failed first


@dataclass(slots=True)
class Flow:
    path: str = ""
    parent: Flow | None = None
    index: int = 0
    item: Json = None  # a Map iteration's Map.Item.Value
    is_iteration: bool = False

    next: str | None = None  # the state to enter; None at the start
    input: Json = None  # its input, or the flow's output once ended
    variables: dict[str, Json] = field(default_factory=dict)  # of this scope alone
    visit: Visit | None = None
    last_id: int = 0
    ended: bool = False
    failure: StateError | None = None
    aborted: bool = False  # set by the interpreter: nothing more is recorded here

    def scope(self) -> dict[str, Json]:
        """The variables that its states can read: its own over the outer flows'."""
        return self.parent.scope() | self.variables if self.parent else self.variables

    def find(self, path: str) -> Flow:
        """The flow at `path`, below this one. KeyError when the events do not fit together."""
        flow = self
        for index in path.split("/") if path else ():
            if flow.visit is None:
                raise KeyError(path)
            flow = flow.visit.flows[int(index)]
        return flow

    def all(self) -> Iterator[Flow]:
        yield self
        for child in list(self.visit.flows.values()) if self.visit else ():
            yield from child.all()

    def apply(self, event: Event) -> None:
        """The event, or note, happened in this flow."""
        if event.id and event.type not in _ASIDE and not event.type.endswith("StateAborted"):
            self.last_id = event.id
        details, memo = event.details, event.memo
        if event.type == "ExecutionStarted":
            self.input = json.loads(details["input"])
            self.last_id = 0  # the first state follows nothing
        elif event.type == "ExecutionRedriven":
            for flow in list(self.all()):
                flow.resume(event.id)
        elif event.type.endswith("StateEntered"):
            self.visit = Visit(details["name"], json.loads(details["input"]), event.at, event.id, event.previous_id)
        elif event.type.endswith("StateExited"):
            self.variables.update({name: json.loads(value) for name, value in details.get("assignedVariables", {}).items()})
            self.input = json.loads(details["output"])
            self.next = memo["next"]
            self.ended = self.next is None
            self.visit = None
            if self.ended:
                self._lead_parent(event.id, follow=True)
        elif event.type == "MapIterationSucceeded":
            self._lead_parent(event.id)
        elif event.type == "FlowFailed":
            self.failure = StateError(memo.get("error"), memo.get("cause"))
            self._lead_parent(self.last_id, failed=True)
        elif self.visit is not None:
            self._apply_to_visit(self.visit, event)

    def resume(self, event_id: int) -> None:
        """A redrive takes up what has not ended: the state it stands in, with its input, and with all its retries."""
        if self.ended:
            return
        self.failure, self.aborted, self.last_id = None, False, event_id
        visit = self.visit
        if visit is not None:
            visit.retries.clear()
            visit.retry_at = visit.attempt = visit.failed = None
            visit.follow_id = event_id

    def _apply_to_visit(self, visit: Visit, event: Event) -> None:
        details, memo = event.details, event.memo
        match event.type:
            case "TaskScheduled":
                visit.retry_at = None
                visit.attempt = Attempt(json.loads(details["parameters"]), details.get("timeoutInSeconds"))
            case "TaskSubmitted" if visit.attempt is not None:
                visit.attempt.child_arn = memo["child"]
            case "MapStateStarted" | "ParallelStateStarted":
                visit.retry_at = None
                visit.inputs = memo["inputs"]
                visit.follow_id = event.id
                if event.type == "ParallelStateStarted":
                    for index, value in enumerate(memo["inputs"]):
                        self._start_child(visit, index, value, event.id)
            case "MapIterationStarted":
                self.last_id = visit.follow_id
                child = self._start_child(visit, details["index"], memo["input"], event.id)
                child.item, child.is_iteration = memo["item"], True
            case "WaitUntil":
                visit.until = memo["until"]
            case "RetryDue":
                visit.retries[memo["retrier"]] += 1
                visit.retry_at = memo["at"]
                visit.attempt = visit.inputs = visit.failed = None
                visit.flows.clear()

    def _start_child(self, visit: Visit, index: int, value: Json, last_id: int) -> Flow:
        path = f"{self.path}/{index}" if self.path else str(index)
        child = Flow(path=path, parent=self, index=index, input=value, last_id=last_id)
        visit.flows[index] = child
        return child

    def _lead_parent(self, event_id: int, *, follow: bool = False, failed: bool = False) -> None:
        """What happened here last is what the parent's next event follows; the first failure stays that."""
        if self.parent is None or self.parent.visit is None or self.parent.visit.failed is not None:
            return
        self.parent.last_id = event_id
        if follow:
            self.parent.visit.follow_id = event_id
        if failed:
            self.parent.visit.failed = self.index
