"""Runs the states of one execution. Everything it learns it records, and everything it knows it reads from its flows.

So it can be started at any point of an execution: on a new one, or on flows that were rebuilt from the log, where it goes
on with the visit that each flow stands in (a Wait to its recorded end, a retry that is due, a task that is called again).

Between two `await`s there is no partial state: the events recorded there are one transaction (`log.py`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

from local.stepfunctions import errors, failures, resources
from local.stepfunctions.concurrency import side_by_side, within
from local.stepfunctions.context import Evaluator, data_text
from local.stepfunctions.definition import ABSENT, Choice, Fail, Map, Parallel, Pass, Rule, State, Succeed, Task, Wait
from local.stepfunctions.errors import StateError, TaskError

if TYPE_CHECKING:
    from local.stepfunctions.clock import Clock
    from local.stepfunctions.context import Facts
    from local.stepfunctions.definition import Catcher, Scope
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.flow import Attempt, Flow, Visit

MAX_INLINE_CONCURRENCY = 40  # what AWS runs at once where MaxConcurrency is 0
REGION = "us-east-1"


class Host(Protocol):
    """What the interpreter asks of the engine, for its own execution."""

    clock: Clock

    def record(
        self,
        flow: Flow,
        type: str,  # noqa: A002
        details: dict[str, Any] | None = None,
        *,
        memo: dict[str, Any] | None = None,
        previous_id: int | None = None,
    ) -> None:
        """An event of the history, after the flow's last one unless told otherwise."""

    def note(self, flow: Flow, type: str, memo: dict[str, Any]) -> None: ...  # noqa: A002

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

    async def _state(self, state: State, flow: Flow) -> None:
        if flow.visit is None:
            details = {"name": state.name, "input": data_text(flow.input, state.name)}
            self._host.record(flow, f"{state.type}StateEntered", details)
        while flow.visit is not None:
            try:
                if flow.visit.retry_at is not None:
                    await self._host.clock.sleep_until(flow.visit.retry_at)
                await self._behave(state, flow, flow.visit)
            except StateError as error:
                self._fail(state, flow, flow.visit, error)

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
                await self._wait(state, flow, visit)
            case Fail():
                raise self._evaluator.failure(state, flow, visit)
            case Pass() | Succeed():
                self._leave(state, flow, visit)
            case _:
                raise AssertionError(state)

    def _fail(self, state: State, flow: Flow, visit: Visit, error: StateError) -> None:
        """Records the failure, and what becomes of it. Raises it when it ends the flow."""
        self._tell(state, flow, visit, error)
        found = failures.retrier(state, visit.retries, error.error)
        if found is not None:
            index, retrier = found
            delay = failures.delay_seconds(retrier, visit.retries[index], random.uniform)
            self._host.note(flow, "RetryDue", {"retrier": index, "at": self._host.clock.now() + delay})
            return
        if isinstance(state, Map | Parallel):
            self._host.record(flow, f"{state.type}StateFailed")
        caught = failures.catcher(state, error.error)
        try:
            if caught is None:
                raise error
            index, catcher = caught
            output = {"Error": error.error or "", "Cause": error.cause or ""}
            self._exit(state, flow, visit, catcher, default=output, field=f"Catch[{index}]/", error_output=output)
        except StateError as final:
            if final is not error:
                self._tell(state, flow, visit, final)
            self._host.note(flow, "FlowFailed", dict(final.texts()))
            raise

    def _tell(self, state: State, flow: Flow, visit: Visit, error: StateError) -> None:
        if error.event is None:
            return
        previous_id = None
        if error.event == "EvaluationFailed" and flow.last_id == visit.entered_id and not isinstance(state, Wait):
            previous_id = visit.entered_after  # as recorded on AWS: as if the state had not been entered
        self._host.record(flow, error.event, {**error.details, **error.texts()}, previous_id=previous_id)

    def _leave(self, state: State, flow: Flow, visit: Visit, **result: Json) -> None:
        """`result=` is the state's result, where it has one."""
        self._exit(state, flow, visit, state, default=result.get("result", visit.input), **result)

    def _exit(
        self,
        state: State,
        flow: Flow,
        visit: Visit,
        way: State | Rule | Catcher,
        *,
        default: Json,
        field: str = "",
        **more: Json,
    ) -> None:
        """Leaves by a Next with its Output and Assign, which both see the variables as they were."""
        value = self._evaluator.value(way.output, f"{field}Output", flow, visit, default=default, **more)
        details: dict[str, Any] = {"name": state.name, "output": data_text(value, state.name)}
        if way.assign is not ABSENT:
            assigned = self._evaluator.value(way.assign, f"{field}Assign", flow, visit, **more)
            details["assignedVariables"] = {name: data_text(item, state.name) for name, item in assigned.items()}
        self._host.record(flow, f"{state.type}StateExited", details, memo={"next": way.next})

    def _choice(self, state: Choice, flow: Flow, visit: Visit) -> None:
        for index, rule in enumerate(state.choices):
            field = f"Choices[{index}]/"
            if self._evaluator.boolean(rule.condition, f"{field}Condition", flow, visit):
                self._exit(state, flow, visit, rule, default=visit.input, field=field)
                return
        if state.next is None:
            raise StateError(errors.NO_CHOICE_MATCHED, f"No choice rule of the state '{state.name}' matched.")
        self._leave(state, flow, visit)

    async def _wait(self, state: Wait, flow: Flow, visit: Visit) -> None:
        if visit.until is None:
            self._host.note(flow, "WaitUntil", {"until": self._evaluator.end_of_wait(state, flow, visit)})
        await self._host.clock.sleep_until(visit.until or 0.0)
        self._leave(state, flow, visit)

    async def _task(self, state: Task, flow: Flow, visit: Visit) -> None:
        named = {"resourceType": state.resource.service, "resource": state.resource.action}
        if visit.attempt is None:
            arguments = self._evaluator.value(state.arguments, "Arguments", flow, visit, default=visit.input)
            for problem, field in resources.argument_problems(state.resource, arguments):
                raise StateError(errors.RUNTIME, f"{problem} at /States/{state.name}/Arguments{field}")
            details: dict[str, Any] = {**named, "region": REGION, "parameters": data_text(arguments, state.name)}
            if state.timeout_seconds is not ABSENT:
                timeout = self._evaluator.number(state.timeout_seconds, "TimeoutSeconds", flow, visit, minimum=1)
                details["timeoutInSeconds"] = timeout
            self._host.record(flow, "TaskScheduled", details)
            self._host.record(flow, "TaskStarted", dict(named))
        attempt = visit.attempt
        if attempt is None:
            raise AssertionError(visit)
        try:
            result = await within(self._host.clock, attempt.timeout_seconds, self._call(state, flow, attempt))
            text = data_text(result, state.resource.service)
        except TimeoutError as error:
            if attempt.child_arn is not None:
                self._host.stop_child(attempt.child_arn)
            raise StateError(errors.TIMEOUT, event="TaskTimedOut", details=named) from error
        except StateError as error:
            submitting = state.resource.starts_child and attempt.child_arn is None
            event = "TaskSubmitFailed" if submitting and isinstance(error, TaskError) else "TaskFailed"
            raise StateError(error.error, error.cause, event=event, details=named) from error
        self._host.record(flow, "TaskSucceeded", {**named, "output": text})
        self._leave(state, flow, visit, result=result)

    async def _call(self, state: Task, flow: Flow, attempt: Attempt) -> Json:
        if not state.resource.starts_child:
            return await self._host.invoke(state.resource.arn, attempt.arguments)
        if attempt.child_arn is None:
            arn, answer = self._host.start_child(attempt.arguments)
            details = {"resourceType": state.resource.service, "resource": state.resource.action}
            self._host.record(flow, "TaskSubmitted", {**details, "output": data_text(answer, "states")}, memo={"child": arn})
        return await self._host.child_result(attempt.child_arn or "")

    async def _map(self, state: Map, flow: Flow, visit: Visit) -> None:
        if visit.inputs is None:
            items = self._evaluator.items(state, flow, visit)
            self._host.record(flow, "MapStateStarted", {"length": len(items)}, memo={"inputs": items})
        limit = 0
        if state.max_concurrency is not ABSENT:
            limit = self._evaluator.number(state.max_concurrency, "MaxConcurrency", flow, visit, minimum=0)
        inputs = visit.inputs or []

        async def iterate(index: int) -> None:
            await self._iteration(state, flow, visit, index, inputs[index])

        try:
            await side_by_side(len(inputs), limit or MAX_INLINE_CONCURRENCY, iterate)
        except StateError as error:
            self._abort_children(flow, visit)
            raise StateError(error.error, error.cause) from error
        self._host.record(flow, "MapStateSucceeded")
        self._leave(state, flow, visit, result=[visit.flows[index].input for index in range(len(inputs))])

    async def _iteration(self, state: Map, flow: Flow, visit: Visit, index: int, item: Json) -> None:
        details = {"name": state.name, "index": index}
        if index not in visit.flows:
            selected = {"Index": index, "Value": item}
            try:
                value = self._evaluator.value(state.item_selector, "ItemSelector", flow, visit, default=item, map_item=selected)
                data_text(value, state.name)
            except StateError as error:
                self._tell(state, flow, visit, error)
                raise
            memo = {"input": value, "item": item}
            self._host.record(flow, "MapIterationStarted", dict(details), memo=memo, previous_id=visit.follow_id)
        child = visit.flows[index]
        if child.ended:
            return
        if child.failure is not None:
            raise child.failure
        try:
            await self.run(state.processor, child)
        except StateError:
            if visit.failed == index:  # those that fail after the first are told as aborted
                self._host.record(child, "MapIterationFailed", dict(details))
            raise
        self._host.record(child, "MapIterationSucceeded", dict(details))

    async def _parallel(self, state: Parallel, flow: Flow, visit: Visit) -> None:
        if visit.inputs is None:
            value = self._evaluator.value(state.arguments, "Arguments", flow, visit, default=visit.input)
            data_text(value, state.name)
            self._host.record(flow, "ParallelStateStarted", memo={"inputs": [value] * len(state.branches)})

        async def branch(index: int) -> None:
            await self.run(state.branches[index], visit.flows[index])

        try:
            await side_by_side(len(state.branches), len(state.branches), branch)
        except StateError as error:
            self._abort_children(flow, visit)
            raise StateError(error.error, error.cause) from error
        self._host.record(flow, "ParallelStateSucceeded")
        self._leave(state, flow, visit, result=[visit.flows[index].input for index in range(len(state.branches))])

    def _abort_children(self, flow: Flow, visit: Visit) -> None:
        """Ends what runs beside a failure, and tells the history: the flow that failed left its state by that, too."""
        for child in visit.flows.values():
            self._abort(child, flow.last_id)

    def _abort(self, flow: Flow, failure_id: int) -> None:
        parent = flow.parent.visit if flow.parent else None
        if flow.ended or flow.aborted or parent is None:
            return
        if flow.is_iteration and parent.failed != flow.index:
            details = {"name": parent.state, "index": flow.index}
            self._host.record(flow, "MapIterationAborted", details, previous_id=failure_id)
        visit = flow.visit
        if visit is not None:
            state = self._states[visit.state]
            if isinstance(state, Task | Map | Parallel | Wait):
                self._host.record(flow, f"{state.type}StateAborted", previous_id=failure_id)
            for child in visit.flows.values():
                self._abort(child, failure_id)
            if visit.attempt is not None and visit.attempt.child_arn is not None:
                self._host.stop_child(visit.attempt.child_arn)
        flow.aborted = True
