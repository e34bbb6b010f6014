"""Executions from their start to their end, and back again after a crash. Used in the engine's thread alone.

Every change of an execution goes through `record`: one event appended to the log and applied to the flow it happened in.
A parent's event and its child execution's are one transaction too, so neither can be without the other.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.stepfunctions import names, redrive
from local.stepfunctions.context import MAX_DATA_BYTES, json_text
from local.stepfunctions.errors import RUNTIME, TIMEOUT, ApiError, StateError
from local.stepfunctions.execution import ENDS, Execution, Live, StatusChange
from local.stepfunctions.flow import Flow
from local.stepfunctions.host import RunnersHost
from local.stepfunctions.interpreter import Interpreter
from local.stepfunctions.log import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.stepfunctions.clock import Clock
    from local.stepfunctions.expressions import Json
    from local.stepfunctions.log import EventLog
    from local.stepfunctions.machines import Machines

    Invoker = Callable[[str, Json], Json | Awaitable[Json]]

MAX_EVENTS = 25_000
MAX_INVOCATIONS_AT_ONCE = 50  # as many as the SDK's clients keep connections; further ones wait

log = logging.getLogger(__name__)


class Runner:
    def __init__(
        self,
        event_log: EventLog,
        machines: Machines,
        *,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        invoke: Invoker,
        on_status_change: Callable[[StatusChange], None] | None,
    ) -> None:
        self.log = event_log
        self.clock = clock
        self._machines = machines
        self._loop = loop
        self._invoke = invoke
        self._on_status_change = on_status_change
        self._executions: dict[str, Execution] = {}
        self._pool = ThreadPoolExecutor(MAX_INVOCATIONS_AT_ONCE, thread_name_prefix="invocation")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def get(self, arn: str) -> Execution:
        """Raises ApiError."""
        try:
            return self._executions[arn]
        except KeyError:
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'") from None

    def of_machine(self, machine_arn: str) -> list[Execution]:
        """Newest first. Raises ApiError."""
        self._machines.get(machine_arn)
        found = [each for each in self._executions.values() if each.machine_arn == machine_arn]
        return sorted(found, key=lambda each: each.number, reverse=True)

    async def ended(self, arn: str) -> None:
        live = self.get(arn).live
        if live is not None:
            await live.ended.wait()

    def start(self, machine_arn: str, name: str | None, input_text: str, *, parent: str | None = None) -> Execution:
        """Idempotent by name and input while the execution runs. Raises ApiError."""
        machine = self._machines.get(machine_arn)
        name = name or str(uuid4())
        arn = names.execution_arn(machine.name, name)
        try:
            input_ = json.loads(input_text, parse_constant=_no_constant)
            if len(input_text.encode()) > MAX_DATA_BYTES:
                raise ValueError(f"it is larger than {MAX_DATA_BYTES} bytes")  # noqa: TRY301 - one refusal for both
        except ValueError as error:
            raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error
        known = self._executions.get(arn)
        if known is not None:
            if known.status == "RUNNING" and self.log.first_and_last(arn)[0].details["input"] == input_text:
                return known
            raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        number = len(self._executions) + 1
        execution = Execution(arn, name, machine_arn, machine.revision, number, self._now(), machine.role_arn)
        self._executions[arn] = execution
        live = self._make_live(execution, input_)
        details = {"input": input_text, "roleArn": machine.role_arn}
        memo = {"name": name, "number": number, "machine": machine_arn, "revision": machine.revision, "parent": parent}
        self.record(execution, live.flow, "ExecutionStarted", details, memo=memo)
        self._tell(execution)
        self._run(execution, live)
        return execution

    def stop(self, arn: str, error: str | None, cause: str | None) -> Execution:
        """Raises ApiError."""
        execution = self.get(arn)
        self._end(execution, "ExecutionAborted", StateError(error, cause).texts())
        return execution

    def redrive(self, arn: str, token: str | None) -> float:
        """Takes up what has not succeeded, by the definition it started with. Idempotent by token. Raises ApiError."""
        execution, now = self.get(arn), self._now()
        earlier = redrive.repeated(execution, token, now)
        if earlier is not None:
            return earlier
        last_id = self.log.first_and_last(arn)[1].id
        reason = redrive.obstacle(execution, last_id, now)
        if reason is not None:
            raise ApiError("ExecutionNotRedrivable", f"The execution {arn} cannot be redriven: {reason}")
        execution.redrives.append((token, now))
        execution.status, execution.stopped_at = "RUNNING", None
        live = self._rebuild(execution)
        details = {"redriveCount": len(execution.redrives)}
        self.record(execution, live.flow, "ExecutionRedriven", details, memo={"token": token}, previous_id=last_id)
        self._tell(execution)
        self._run(execution, live)
        return now

    def record(
        self,
        execution: Execution,
        flow: Flow,
        type: str,  # noqa: A002
        details: dict[str, Any] | None = None,
        *,
        memo: dict[str, Any] | None = None,
        previous_id: int | None = None,
    ) -> Event:
        """Raises CancelledError in what still tries to act after its end."""
        live = self._live(execution, flow)
        if live.last_id >= MAX_EVENTS - 1 and type not in ENDS:
            cause = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
            self._end(execution, "ExecutionFailed", {"error": RUNTIME, "cause": cause})
            raise asyncio.CancelledError
        live.last_id += 1
        previous_id = flow.last_id if previous_id is None else previous_id
        return self._append(
            execution, flow, Event(live.last_id, previous_id, self._now(), type, flow.path, details or {}, memo or {})
        )

    def note(self, execution: Execution, flow: Flow, type: str, memo: dict[str, Any]) -> None:  # noqa: A002
        """Raises CancelledError in what still tries to act after its end."""
        self._live(execution, flow)
        self._append(execution, flow, Event(0, 0, self._now(), type, flow.path, {}, memo))

    @staticmethod
    def _live(execution: Execution, flow: Flow) -> Live:
        if execution.live is None or flow.aborted:
            raise asyncio.CancelledError
        return execution.live

    def _append(self, execution: Execution, flow: Flow, event: Event) -> Event:
        self.log.append(execution.arn, event)
        self._loop.call_soon(self.log.commit)
        flow.apply(event)
        return event

    async def invoke(self, resource: str, arguments: Json) -> Json:
        """Raises TaskError."""
        self.log.commit()
        if inspect.iscoroutinefunction(self._invoke):
            return await self._invoke(resource, arguments)
        with self.clock.busy():
            return await asyncio.wrap_future(self._pool.submit(self._invoke, resource, arguments))

    def recover(self) -> None:
        """Rebuilds every execution from the log, and goes on with those that ran."""
        for arn, event in self.log.lives():
            if event.type == "ExecutionStarted":
                memo, role = event.memo, event.details["roleArn"]
                execution = Execution(arn, memo["name"], memo["machine"], memo["revision"], memo["number"], event.at, role)
                self._executions[arn] = execution
            elif event.type == "ExecutionRedriven":
                execution = self._executions[arn]
                execution.redrives.append((event.memo["token"], event.at))
                execution.status, execution.stopped_at = "RUNNING", None
            else:
                self._executions[arn].status = ENDS[event.type]
                self._executions[arn].stopped_at = event.at
        running = [each for each in self._executions.values() if each.status == "RUNNING"]
        lives = [(each, self._rebuild(each)) for each in running]
        for execution, live in lives:  # once all are there: parents wait for their children
            self._run(execution, live)

    def _rebuild(self, execution: Execution) -> Live:
        events = self.log.everything(execution.arn)
        live = self._make_live(execution, json.loads(events[0].details["input"]))
        for event in events:
            live.flow.find(event.path).apply(event)
            live.last_id = max(live.last_id, event.id)
        return live

    def _make_live(self, execution: Execution, input_: Json) -> Live:
        definition = self._machines.definition(execution.revision)
        interpreter = Interpreter(RunnersHost(self, execution), execution.facts(definition, input_))
        execution.live = Live(definition, Flow(), interpreter)
        return execution.live

    def _run(self, execution: Execution, live: Live) -> None:
        live.tasks.append(self._loop.create_task(self._carry_out(execution, live)))
        if live.definition.timeout_seconds is not None:
            end = (execution.redriven_at or execution.started_at) + live.definition.timeout_seconds
            live.tasks.append(self._loop.create_task(self._time_out(execution, end)))

    async def _carry_out(self, execution: Execution, live: Live) -> None:
        try:
            output = await live.interpreter.run(live.definition.scope, live.flow)
            self._end(execution, "ExecutionSucceeded", {"output": json_text(output)})
        except StateError as error:
            self._end(execution, "ExecutionFailed", error.texts())
        except Exception as error:  # a fault of the engine, or of a test's invoker
            log.exception("The engine failed on %s", execution.arn)
            cause = f"{type(error).__name__} in the engine: see its log"
            self._end(execution, "ExecutionFailed", {"error": RUNTIME, "cause": cause})

    async def _time_out(self, execution: Execution, end: float) -> None:
        await self.clock.sleep_until(end)
        self._end(execution, "ExecutionTimedOut", {"error": TIMEOUT})

    def _end(self, execution: Execution, type_: str, details: dict[str, Any]) -> None:
        """The execution ends, with the children that it started: in one transaction."""
        live = execution.live
        if live is None:
            return
        previous_id = 0 if type_ in ("ExecutionAborted", "ExecutionTimedOut") else None
        event = self.record(execution, live.flow, type_, details, previous_id=previous_id)
        execution.live = None
        execution.status, execution.stopped_at = ENDS[type_], event.at
        self._tell(execution)
        for flow in live.flow.all():
            attempt = flow.visit.attempt if flow.visit else None
            if attempt is not None and attempt.child_arn is not None:
                self.stop(attempt.child_arn, None, None)
        current = asyncio.current_task()
        for task in live.tasks:
            if task is not current:
                task.cancel()
        live.ended.set()

    def _tell(self, execution: Execution) -> None:
        """Of a change of status, once it is committed."""
        listener = self._on_status_change
        if listener is None:
            return
        detail = names.status_detail(execution, *self.log.first_and_last(execution.arn))
        change = StatusChange(execution.arn, execution.status, detail)

        def tell() -> None:
            try:
                listener(change)
            except Exception:  # an execution does not fail for it
                log.exception("A status change of %s was not delivered", change.execution_arn)

        self._loop.call_soon(tell)

    def _now(self) -> float:
        return round(self.clock.now(), 3)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
