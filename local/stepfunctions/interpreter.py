"""Runs the states of one execution. Everything it learns it records, and everything it knows it reads from its flows.

So it can be started at any point of an execution: on a new one, or on flows that were rebuilt from the log, where it goes
on with the visit that each flow stands in (a Wait to its recorded end, a retry that is due, a task that is called again).

Between two `await`s there is no partial state: the events recorded there are one transaction (`log.py`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

from local.stepfunctions import errors, expressions, failures
from local.stepfunctions.concurrency import side_by_side, within
from local.stepfunctions.context import Evaluator, data_text
from local.stepfunctions.definition import ABSENT, Choice, Fail, Map, Parallel, Pass, State, Succeed, Task, Wait
from local.stepfunctions.errors import StateError, TaskError
from local.stepfunctions.flow import Visit

if TYPE_CHECKING:
    from local.stepfunctions.clock import Clock
    from local.stepfunctions.context import Facts
    from local.stepfunctions.definition import Scope
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.flow import Attempt, Flow

MAX_INLINE_CONCURRENCY = 40  # what AWS runs at once where MaxConcurrency is 0
REGION = "us-east-1"


class Host(Protocol):
    """What the interpreter asks of the engine, for its own execution."""

    clock: Clock

    def record(self, flow: Flow, type: str, details: dict[str, Any], memo: dict[str, Any]) -> None: ...  # noqa: A002

    async def invoke(self, resource: str, arguments: Json) -> Json:
        """Raises TaskError."""

    def start_child(self, arguments: Json) -> tuple[str, Json]:
        """Starts an execution, in the same transaction; its ARN and the answer. Raises TaskError."""

    async def child_result(self, arn: str) -> Json:
        """Waits for it. Raises TaskError."""

    def stop_child(self, arn: str) -> None: ...


class Interpreter:
    def __init__(self, host: Host, facts: Facts) -> None:
        self._host = host
        self._states = facts.states
        self._evaluator = Evaluator(facts, host.clock)

    async def run(self, scope: Scope, flow: Flow) -> Json:
        """The flow's output. Raises StateError when it fails."""
        if flow.failure is not None:
            raise flow.failure
        while not flow.ended:
            name = flow.visit.state if flow.visit else flow.next or scope.start_at
            await self._state(scope.states[name], flow)
        return flow.input

    def abort(self, flow: Flow) -> None:
        """Ends what runs in this flow and below, and tells the history, innermost first."""
        if flow.ended or flow.failure is not None or flow.aborted:
            return
        visit = flow.visit
        if visit is not None:
            for child in visit.flows.values():
                self.abort(child)
            if visit.attempt is not None and visit.attempt.child_arn is not None:
                self._host.stop_child(visit.attempt.child_arn)
            state = self._states[visit.state]
            if isinstance(state, Task | Map | Parallel | Wait):
                self._host.record(flow, f"{state.type}StateAborted", {}, {})
        if flow.is_iteration and flow.parent is not None and flow.parent.visit is not None:
            self._host.record(flow, "MapIterationAborted", {"name": flow.parent.visit.state, "index": flow.index}, {})
        flow.aborted = True

    async def _state(self, state: State, flow: Flow) -> None:
        pending: StateError | None = None
        if flow.visit is None:
            pending = self._enter(state, flow)
        while flow.visit is not None:
            try:
                if pending is not None:
                    raise pending
                if flow.visit.retry_at is not None:
                    await self._host.clock.sleep_until(flow.visit.retry_at)
                await self._behave(state, flow, flow.visit)
            except StateError as error:
                pending = None
                self._fail(state, flow, flow.visit, error)

    def _enter(self, state: State, flow: Flow) -> StateError | None:
        """Records the entry, with what must be evaluated once: a Wait's end, a Fail's error. What failed is returned."""
        text = data_text(flow.input)
        memo: dict[str, Any] = {}
        failure = None
        visit = Visit(state.name, flow.input, self._host.clock.now())
        try:
            if isinstance(state, Wait):
                memo["until"] = self._evaluator.end_of_wait(state, flow, visit)
            elif isinstance(state, Fail):
                failure = self._evaluator.failure(state, flow, visit)
                memo["failure"] = failure.texts()
        except StateError as error:
            failure = error
        self._host.record(flow, f"{state.type}StateEntered", {"name": state.name, "input": text}, memo)
        return failure

    async def _behave(self, state: State, flow: Flow, visit: Visit) -> None:
        """Does what the state is for, and leaves it. Raises StateError."""
        match state:
            case Task():
                await self._task(state, flow, visit)
            case Map():
                await self._map(state, flow, visit)
            case Parallel():
                await self._parallel(state, flow, visit)
            case Choice():
                self._choice(state, flow, visit)
            case Wait():
                await self._host.clock.sleep_until(visit.until or 0.0)
                self._leave(state, flow, visit)
            case Pass() | Succeed():
                self._leave(state, flow, visit)
            case _:
                raise AssertionError(state)

    def _fail(self, state: State, flow: Flow, visit: Visit, error: StateError) -> None:
        """Records the failure with what becomes of it. Raises it when it ends the flow."""
        found = failures.retrier(state, visit.retries, error.error)
        if found is not None and error.event is not None:
            index, retrier = found
            delay = failures.delay_seconds(retrier, visit.retries[index], random.uniform)
            self._record_failure(flow, visit, error, {"retrier": index, "retry_at": self._host.clock.now() + delay})
            return
        caught = failures.catcher(state, error.error)
        if caught is None:
            self._record_failure(flow, visit, error, {"failure": error.texts()})
            raise error
        self._record_failure(flow, visit, error, {})
        index, catcher = caught
        output = {"Error": error.error, "Cause": error.cause or ""}
        try:
            self._exit(
                state,
                flow,
                visit,
                next_state=catcher.next,
                output=catcher.output,
                assign=catcher.assign,
                default=output,
                field=f"Catch[{index}]/",
                error_output=output,
            )
        except StateError as second:
            self._record_failure(flow, visit, second, {"failure": second.texts()})
            raise

    def _record_failure(self, flow: Flow, visit: Visit, error: StateError, memo: dict[str, Any]) -> None:
        if error.event is None:
            return
        details = {**error.details, **({} if error.event in ("MapStateFailed", "ParallelStateFailed") else error.texts())}
        if error.event == "EvaluationFailed":
            details["state"] = visit.state
        self._host.record(flow, error.event, details, memo)

    def _leave(self, state: State, flow: Flow, visit: Visit, **result: Json) -> None:
        """`result=` is the state's result, where it has one."""
        default = result.get("result", visit.input)
        self._exit(
            state, flow, visit, next_state=state.next, output=state.output, assign=state.assign, default=default, **result
        )

    def _exit(
        self,
        state: State,
        flow: Flow,
        visit: Visit,
        *,
        next_state: str | None,
        output: Json,
        assign: Json,
        default: Json,
        field: str = "",
        **more: Json,
    ) -> None:
        """Output and Assign are evaluated side by side, over the variables as they were."""
        value = self._evaluator.value(output, f"{field}Output", flow, visit, default=default, **more)
        details: dict[str, Any] = {"name": state.name, "output": data_text(value)}
        if assign is not ABSENT:
            assigned = self._evaluator.value(assign, f"{field}Assign", flow, visit, **more)
            details["assignedVariables"] = {name: data_text(item) for name, item in assigned.items()}
        self._host.record(flow, f"{state.type}StateExited", details, {"next": next_state})

    def _choice(self, state: Choice, flow: Flow, visit: Visit) -> None:
        for index, rule in enumerate(state.choices):
            field = f"Choices[{index}]/"
            holds = self._evaluator.value(rule.condition, f"{field}Condition", flow, visit)
            if not isinstance(holds, bool):
                raise expressions.query_error(f"{field}Condition", "The Condition of a Choice must be true or false.")
            if holds:
                self._exit(
                    state,
                    flow,
                    visit,
                    next_state=rule.next,
                    output=rule.output,
                    assign=rule.assign,
                    default=visit.input,
                    field=field,
                )
                return
        if state.default is None:
            raise StateError(
                errors.NO_CHOICE_MATCHED, f"No choice rule matched in the state '{state.name}', and it has no Default."
            )
        self._exit(state, flow, visit, next_state=state.default, output=state.output, assign=state.assign, default=visit.input)

    async def _task(self, state: Task, flow: Flow, visit: Visit) -> None:
        named = {"resourceType": state.resource.service, "resource": state.resource.action}
        if visit.attempt is None:
            arguments = self._evaluator.value(state.arguments, "Arguments", flow, visit, default=visit.input)
            details: dict[str, Any] = {**named, "region": REGION, "parameters": data_text(arguments)}
            if state.timeout_seconds is not ABSENT:
                details["timeoutInSeconds"] = self._evaluator.number(
                    state.timeout_seconds, "TimeoutSeconds", flow, visit, minimum=1
                )
            self._host.record(flow, "TaskScheduled", details, {})
            self._host.record(flow, "TaskStarted", dict(named), {})
        if visit.attempt is None:
            raise AssertionError(visit)
        try:
            result = await within(self._host.clock, visit.attempt.timeout_seconds, self._call(state, flow, visit.attempt))
            text = data_text(result)
        except TaskError as error:
            submitting = state.resource.starts_child and visit.attempt.child_arn is None
            event = "TaskSubmitFailed" if submitting else "TaskFailed"
            raise StateError(error.error, error.cause, event=event, details=named) from error
        except TimeoutError as error:
            if visit.attempt.child_arn is not None:
                self._host.stop_child(visit.attempt.child_arn)
            raise StateError(errors.TIMEOUT, event="TaskTimedOut", details=named) from error
        self._host.record(flow, "TaskSucceeded", {**named, "output": text}, {})
        self._leave(state, flow, visit, result=result)

    async def _call(self, state: Task, flow: Flow, attempt: Attempt) -> Json:
        if not state.resource.starts_child:
            return await self._host.invoke(state.resource.arn, attempt.arguments)
        if attempt.child_arn is None:
            arn, answer = self._host.start_child(attempt.arguments)
            details = {"resourceType": state.resource.service, "resource": state.resource.action, "output": data_text(answer)}
            self._host.record(flow, "TaskSubmitted", details, {"child": arn})
        return await self._host.child_result(attempt.child_arn or "")

    async def _map(self, state: Map, flow: Flow, visit: Visit) -> None:
        if visit.inputs is None:
            items = self._evaluator.value(state.items, "Items", flow, visit, default=visit.input)
            if isinstance(items, dict):
                items = [{"Key": key, "Value": value} for key, value in items.items()]
            if not isinstance(items, list):
                raise expressions.query_error("Items", "The Items of a Map must be an array or an object.")
            self._host.record(flow, "MapStateStarted", {"length": len(items)}, {"inputs": items})
        limit = 0
        if state.max_concurrency is not ABSENT:
            limit = self._evaluator.number(state.max_concurrency, "MaxConcurrency", flow, visit, minimum=0)
        inputs = visit.inputs or []

        async def iterate(index: int) -> None:
            await self._iteration(state, flow, visit, index, inputs[index])

        try:
            await side_by_side(len(inputs), limit or MAX_INLINE_CONCURRENCY, iterate)
        except StateError as error:
            self._abort_children(visit)
            raise StateError(error.error, error.cause, event="MapStateFailed") from error
        self._host.record(flow, "MapStateSucceeded", {}, {})
        self._leave(state, flow, visit, result=[visit.flows[index].input for index in range(len(inputs))])

    async def _iteration(self, state: Map, flow: Flow, visit: Visit, index: int, item: Json) -> None:
        details = {"name": state.name, "index": index}
        if index not in visit.flows:
            selected = {"Index": index, "Value": item}
            try:
                value = self._evaluator.value(state.item_selector, "ItemSelector", flow, visit, default=item, map_item=selected)
            except StateError as error:
                self._record_failure(flow, visit, error, {})
                raise
            self._host.record(flow, "MapIterationStarted", dict(details), {"input": value, "item": item})
        child = visit.flows[index]
        if child.ended:
            return
        if child.failure is not None:
            raise child.failure
        try:
            await self.run(state.processor, child)
        except StateError as error:
            self._host.record(child, "MapIterationFailed", dict(details), {"failure": error.texts()})
            raise
        self._host.record(child, "MapIterationSucceeded", dict(details), {})

    async def _parallel(self, state: Parallel, flow: Flow, visit: Visit) -> None:
        if visit.inputs is None:
            value = self._evaluator.value(state.arguments, "Arguments", flow, visit, default=visit.input)
            data_text(value)
            self._host.record(flow, "ParallelStateStarted", {}, {"inputs": [value] * len(state.branches)})

        async def branch(index: int) -> None:
            await self.run(state.branches[index], visit.flows[index])

        try:
            await side_by_side(len(state.branches), len(state.branches), branch)
        except StateError as error:
            self._abort_children(visit)
            raise StateError(error.error, error.cause, event="ParallelStateFailed") from error
        self._host.record(flow, "ParallelStateSucceeded", {}, {})
        self._leave(state, flow, visit, result=[visit.flows[index].input for index in range(len(state.branches))])

    def _abort_children(self, visit: Visit) -> None:
        for child in visit.flows.values():
            self.abort(child)
