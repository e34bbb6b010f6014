"""What an execution's events add up to: where each of its flows stands.

A flow is a line of states: the execution's own (path `""`), a Parallel branch's, or a Map iteration's (`"3"`, `"3/0"`:
the index below the flow that holds the Map or Parallel state). A flow stands in at most one state at a time, its visit.

Invariant: a flow changes by `apply` alone, running or recovering. So what the interpreter knows after an event is what
it would know after a crash at that point, and RedriveExecution can be one more event to apply.
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
    until: float | None = None  # a Wait's end
    retries: Counter[int] = field(default_factory=Counter)  # by the retrier's index
    retry_at: float | None = None
    attempt: Attempt | None = None
    inputs: list[Json] | None = None  # of a Map's items or a Parallel's branches, once started
    flows: dict[int, Flow] = field(default_factory=dict)


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
    aborted: bool = False  # set by the interpreter: nothing more is recorded here
    failure: StateError | None = None

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
        """The event happened in this flow."""
        details, memo = event.details, event.memo
        if event.type == "MapIterationStarted":
            self._start_child(details["index"], memo["input"], event.id, item=memo["item"], is_iteration=True)
            return  # iterations start side by side: none of them follows another
        self.last_id = event.id
        if event.type == "ExecutionStarted":
            self.input = json.loads(details["input"])
            self.last_id = 0  # the first state has no predecessor in AWS's histories
        elif event.type.endswith("StateEntered"):
            self.visit = Visit(details["name"], json.loads(details["input"]), event.at, until=memo.get("until"))
        elif event.type.endswith("StateExited"):
            self.variables.update({name: json.loads(value) for name, value in details.get("assignedVariables", {}).items()})
            self.input = json.loads(details["output"])
            self.next = memo["next"]
            self.ended = self.next is None
            self.visit = None
        elif self.visit is not None:
            self._apply_to_visit(self.visit, event)
        if "failure" in memo:
            self.failure = StateError(memo["failure"].get("error"), memo["failure"].get("cause"))
        if self.parent is not None and (self.ended or self.failure is not None):
            self.parent.last_id = event.id

    def _apply_to_visit(self, visit: Visit, event: Event) -> None:
        details, memo = event.details, event.memo
        if event.type == "TaskScheduled":
            visit.retry_at = None
            visit.attempt = Attempt(json.loads(details["parameters"]), details.get("timeoutInSeconds"))
        elif event.type == "TaskSubmitted" and visit.attempt is not None:
            visit.attempt.child_arn = memo["child"]
        elif event.type in ("MapStateStarted", "ParallelStateStarted"):
            visit.retry_at = None
            visit.inputs = memo["inputs"]
            if event.type == "ParallelStateStarted":
                for index, value in enumerate(memo["inputs"]):
                    self._start_child(index, value, event.id)
        elif "retrier" in memo:
            visit.retries[memo["retrier"]] += 1
            visit.retry_at = memo["retry_at"]
            visit.attempt = visit.inputs = None
            visit.flows.clear()

    def _start_child(self, index: int, value: Json, last_id: int, *, item: Json = None, is_iteration: bool = False) -> None:
        if self.visit is None:
            raise KeyError(f"{self.path}/{index}")
        self.visit.flows[index] = Flow(
            path=f"{self.path}/{index}" if self.path else str(index),
            parent=self,
            index=index,
            item=item,
            is_iteration=is_iteration,
            input=value,
            last_id=last_id,
        )
