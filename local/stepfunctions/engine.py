"""The engine: state machines and executions over the event log, in a thread with an event loop of its own.

Public methods are safe to call from any thread; each is one turn of the loop, whose events are committed before it
returns. What they return is a snapshot: it does not change when the execution goes on. What AWS's API says about
parameters and answers stands in `operations.py`; here it is Python.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from local.stepfunctions import names
from local.stepfunctions.clock import SystemClock
from local.stepfunctions.log import EventLog
from local.stepfunctions.machines import Machines
from local.stepfunctions.parser import parse
from local.stepfunctions.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from local.stepfunctions.clock import Clock
    from local.stepfunctions.execution import Execution, StatusChange
    from local.stepfunctions.log import Event
    from local.stepfunctions.machines import Machine
    from local.stepfunctions.runner import Invoker

T = TypeVar("T")


class Engine:
    """Runs state machines. Use as a context manager, or `close()` it.

    `invoke(resource, arguments)` carries out a Task: it returns the result or raises TaskError. A plain function runs in
    a thread of a pool, a coroutine function in the engine's loop.
    `log_path` is the event log's file; without one it is kept in memory. Executions that ran when the log was last used
    go on at once. `on_status_change` is called in the engine's thread: it must return quickly, and may not call the engine.
    Raises RuntimeError when the log is in use.
    """

    def __init__(
        self,
        invoke: Invoker,
        *,
        log_path: Path | None = None,
        clock: Clock | None = None,
        on_status_change: Callable[[StatusChange], None] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._log = EventLog(log_path)
        self._machines = Machines(self._log)
        self._loop = self.clock.new_event_loop()
        self._runner = Runner(
            self._log,
            self._machines,
            clock=self.clock,
            loop=self._loop,
            invoke=invoke,
            on_status_change=on_status_change,
        )
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stepfunctions", daemon=True)
        self._thread.start()
        try:
            self._turn(self._runner.recover)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine as a crash would: nothing is recorded, and the next one on the same log goes on from here."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    # --- state machines -------------------------------------------------------------------------------------------

    def create_state_machine(self, name: str, definition: str, *, role_arn: str = names.ROLE_ARN) -> Machine:
        """Idempotent with the same definition and role. Raises ApiError."""
        parse(definition)
        return self._turn(lambda: self._machines.create(name, definition, role_arn, self.clock.now()))

    def update_state_machine(self, arn: str, *, definition: str | None = None, role_arn: str | None = None) -> Machine:
        """Executions that run keep the definition they started with. Raises ApiError."""
        if definition is not None:
            parse(definition)
        return self._turn(lambda: self._machines.update(arn, definition, role_arn, self.clock.now()))

    def state_machine(self, arn: str) -> Machine:
        """Raises ApiError."""
        return self._turn(lambda: self._machines.get(arn))

    def state_machines(self) -> list[Machine]:
        """Oldest first."""
        return self._turn(self._machines.all)

    # --- executions -----------------------------------------------------------------------------------------------

    def start_execution(self, machine_arn: str, *, name: str | None = None, input_text: str = "{}") -> Execution:
        """Idempotent by name and input while the execution runs. Raises ApiError."""
        return self._turn(lambda: self._runner.start(machine_arn, name, input_text).snapshot())

    def stop_execution(self, arn: str, *, error: str | None = None, cause: str | None = None) -> Execution:
        """Does nothing to an execution that has ended. Raises ApiError."""
        return self._turn(lambda: self._runner.stop(arn, error, cause).snapshot())

    def redrive_execution(self, arn: str, *, client_token: str | None = None) -> float:
        """When it was redriven; the same again for the same token. Raises ApiError."""
        return self._turn(lambda: self._runner.redrive(arn, client_token))

    def execution(self, arn: str) -> Execution:
        """Raises ApiError."""
        return self._turn(lambda: self._runner.get(arn).snapshot())

    def state_machine_of(self, arn: str) -> Machine:
        """The machine as it was when the execution started. Raises ApiError."""
        return self._turn(lambda: self._machines.revision(self._runner.get(arn).revision))

    def executions(self, machine_arn: str) -> list[Execution]:
        """Last started first. Raises ApiError."""
        return self._turn(lambda: [each.snapshot() for each in self._runner.of_machine(machine_arn)])

    def first_and_last_event(self, arn: str) -> tuple[Execution, Event, Event]:
        """The execution with the events that hold its input, and its output or error. Raises ApiError."""

        def read() -> tuple[Execution, Event, Event]:
            execution = self._runner.get(arn).snapshot()
            return execution, *self._log.first_and_last(arn)

        return self._turn(read)

    def history(
        self, arn: str, *, after: int = 0, before: int | None = None, limit: int = -1, reverse: bool = False
    ) -> list[Event]:
        """The execution's events with `after < id < before`, in order, or newest first. Raises ApiError."""

        def read() -> list[Event]:
            self._runner.get(arn)
            return self._log.events(arn, after=after, before=before, limit=limit, reverse=reverse)

        return self._turn(read)

    def wait(self, arn: str, *, timeout_seconds: float = 60) -> Execution:
        """Returns when the execution has ended. Raises TimeoutError after so many real seconds, ApiError."""
        waiting = asyncio.run_coroutine_threadsafe(self._runner.ended(arn), self._loop)
        try:
            waiting.result(timeout_seconds)
        except TimeoutError:
            waiting.cancel()
            raise TimeoutError(f"{arn} did not end within {timeout_seconds} s") from None
        return self.execution(arn)

    def _turn(self, act: Callable[[], T]) -> T:
        """Runs `act` in the engine's thread, commits what it recorded, and returns its result."""
        done: Future[T] = Future()

        def turn() -> None:
            try:
                result = act()
                self._log.commit()
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                done.set_exception(error)
            else:
                done.set_result(result)

        self._loop.call_soon_threadsafe(turn)
        return done.result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._log.close()  # before the tasks are cancelled: nothing of that is recorded
            self._runner.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()
