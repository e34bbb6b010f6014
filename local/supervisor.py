"""Runs the programs of a stack: started in order, watched, restarted or not when they die, stopped in reverse order."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from local.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RESTARTS = 5
_RESTARTS_WITHIN_SECONDS = 60.0
_LOG_TAIL_LINES = 20


class Program(Protocol):
    """What `local.processes.Process` is to its supervisor."""

    log_path: Path

    def wait(self, timeout_seconds: float | None = None) -> int: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Service:
    """One program of the stack. `restarts` is whether it may die and be started again, its state being on disk."""

    name: str
    start: Callable[[], Program]
    restarts: bool


class ServiceDiedError(Exception):
    """A service died that the stack cannot go on without, or that would not stay up. The text holds its log's end."""


@dataclass
class _Running:
    service: Service
    program: Program
    deaths: list[float] = field(default_factory=list)


class Supervisor:
    """Start services from any thread; `supervise` and `stop` belong to one."""

    def __init__(self, *, report: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: list[_Running] = []
        self._ended: SimpleQueue[tuple[_Running, Program, int]] = SimpleQueue()

    def start(self, service: Service) -> None:
        """Start a service and watch it from now on. Raises ProcessError."""
        running = _Running(service, service.start())
        with self._lock:
            self._running.append(running)
        self._watch(running)

    def supervise(self) -> None:
        """Restart what may be restarted, for ever. Raises ServiceDiedError when that is not enough."""
        while True:
            running, program, code = self._ended.get()
            service = running.service
            died = f"{service.name} died, with code {code}.\n{tail(program.log_path)}"
            if not service.restarts:
                raise ServiceDiedError(died)
            now = self._monotonic()
            running.deaths = [*(then for then in running.deaths if now - then < _RESTARTS_WITHIN_SECONDS), now]
            if len(running.deaths) > _RESTARTS:
                raise ServiceDiedError(f"{died}\nIt was restarted {_RESTARTS} times within a minute: mend it, and start again.")
            self._report(f"{died}\nStarting it again.")
            program.stop()  # whatever it left behind
            try:
                running.program = service.start()
            except ProcessError as error:
                raise ServiceDiedError(f"{service.name} died, and could not be started again: {error}") from error
            self._watch(running)

    def stop(self) -> None:
        """End every service, the last started first, each given time to end in its own order."""
        while self._running:
            self._running.pop().program.stop()

    def _watch(self, running: _Running) -> None:
        program = running.program
        threading.Thread(
            target=lambda: self._ended.put((running, program, program.wait())), name=running.service.name, daemon=True
        ).start()


def tail(log_path: Path) -> str:
    """The last lines of a log, for people."""
    lines = log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:] if log_path.exists() else []
    return "\n".join([f"The end of {log_path}:", *lines])
