"""Several workers on one port and one spool, kept running.

Invariants
    - The supervisor opens the ports and owns the spool; its workers inherit the ports, and each owns a folder of the spool.
    - A worker that dies is replaced, later each time (full jitter) until one has stayed up for a minute. What it left is taken
      up by its replacement or by a sibling, whichever looks first (receiver/service.py).
    - A worker that reports nothing for a minute hangs, and is killed.
    - A worker that cannot start as the receiver starts, since the settings are wrong, ends the receiver (exit code 2).
    - Workers end with their supervisor, however it ends: it holds the other end of their standard input.
"""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from receiver.counters import Labels, Report, total
from receiver.listening import Sockets
from receiver.process import CANNOT_START, DRAIN_SIGNAL, CannotStartError
from receiver.settings import Settings

_COMMAND = (sys.executable, "-m", "receiver.worker")
_STAYED_UP_SECONDS = 60.0
_SILENT_SECONDS = 60.0
_BACKOFF_FIRST_SECONDS, _BACKOFF_MAX_SECONDS = 0.5, 30.0
_STOP_MARGIN_SECONDS = 10.0  # beyond the drain, for workers to abort what is left and to end

_log = logging.getLogger(__name__)


class Supervisor:
    """The workers of one receiver. `start` and `stop`, once each."""

    def __init__(
        self, settings: Settings, sockets: Sockets, stop: threading.Event, *, command: Sequence[str] = _COMMAND
    ) -> None:
        """Workers accept on the sockets, which listen. `stop` is set when the receiver is asked to end."""
        self._settings, self._sockets, self._stop = settings, sockets, stop
        self.port, self.tls_port = (sock.getsockname()[1] if sock else -1 for sock in sockets)
        self._stopping, self._draining = threading.Event(), threading.Event()
        self._labels = Labels()
        self._workers = [
            _Worker(number, self._spawn, self._stopping, self._draining) for number in range(1, settings.workers + 1)
        ]
        self._command = command
        self._watch = threading.Thread(target=self._kill_silent_workers, name="watch", daemon=True)

    def start(self) -> None:
        """Start the workers, and wait until each accepts associations, or `stop`. Raises CannotStartError."""
        for worker in self._workers:
            worker.start()
        for worker in self._workers:
            while not worker.settled.wait(0.05) and not self._stop.is_set():
                pass
        if any(worker.cannot_start for worker in self._workers):
            self.stop()
            raise CannotStartError
        self._watch.start()

    def report(self) -> Report:
        """What all workers counted, those that died too, and what they hold now."""
        report = total(worker.report.labelled(self._labels) for worker in self._workers)
        if self._stopping.is_set() or self._draining.is_set():
            report.workers = 0
        return report

    def drain(self) -> None:
        """Let each worker end once it is idle, and replace none that did. May be called again."""
        self._draining.set()
        for worker in self._workers:
            worker.drain()

    @property
    def is_idle(self) -> bool:
        """Whether all workers have ended."""
        return not any(worker.is_alive() for worker in self._workers)

    def stop(self) -> None:
        """Let the workers drain, and kill those that have not ended by then."""
        deadline = time.monotonic() + self._settings.drain_timeout_seconds + _STOP_MARGIN_SECONDS
        self._stopping.set()
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                _log.error("worker did not drain in time and is killed", extra={"worker": worker.number})
                worker.kill()
                worker.join()
        for sock in filter(None, self._sockets):
            sock.close()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        files = [sock.fileno() if sock else None for sock in self._sockets]
        process = subprocess.Popen(  # noqa: S603 - a program of this project
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file for file in files if file is not None]
        )
        assert process.stdin is not None  # noqa: S101 - asked for
        task = {"settings": self._settings.model_dump(mode="json"), "sockets": files, "worker": number}
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:  # it is dead already, as its exit code will say
            pass
        return process

    def _kill_silent_workers(self) -> None:
        while not self._stopping.wait(1):
            for worker in self._workers:
                if worker.silent_seconds > _SILENT_SECONDS:
                    _log.error("worker hangs and is killed", extra={"worker": worker.number})
                    worker.kill()


class _Worker(threading.Thread):
    """One of the workers: the process that is it now, and after its death the next."""

    def __init__(
        self,
        number: int,
        spawn: Callable[[int], subprocess.Popen[bytes]],
        stopping: threading.Event,
        draining: threading.Event,
    ) -> None:
        super().__init__(name=f"worker-{number}", daemon=True)
        self.number, self._spawn, self._stopping, self._draining = number, spawn, stopping, draining
        self.settled = threading.Event()
        """It accepts associations, or it cannot start."""
        self.cannot_start = False
        self._before = Report()  # what processes counted that are dead
        self._now = Report()
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_drain: subprocess.Popen[bytes] | None = None
        self._heard_at = time.monotonic()
        self._lock = threading.Lock()  # a process is started, or signalled, by one thread at a time

    @property
    def silent_seconds(self) -> float:
        """For how long the process has reported nothing; 0 when there is none."""
        return time.monotonic() - self._heard_at if self._process is not None else 0.0

    @property
    def report(self) -> Report:
        """What the process and those before it counted, as far as it told."""
        return total((self._before, self._now))

    def run(self) -> None:
        failures = 0
        while process := self._start_process():
            started_at = time.monotonic()
            self._follow(process)
            code = process.wait()
            self._process = None
            self._before, self._now = total((self._before, self._now.counted())), Report()
            if code == CANNOT_START and not self.settled.is_set():
                self.cannot_start = True
                self.settled.set()
                return
            if self._stopping.is_set() or (self._draining.is_set() and code == 0):
                return
            if time.monotonic() - started_at > _STAYED_UP_SECONDS:
                failures = 0
            wait_seconds = random.uniform(0, min(_BACKOFF_MAX_SECONDS, _BACKOFF_FIRST_SECONDS * 2**failures))
            failures = min(failures + 1, 30)
            _log.error(
                "worker ended and is replaced",
                extra={"worker": self.number, "exit_code": code, "in_seconds": round(wait_seconds, 3)},
            )
            self._stopping.wait(wait_seconds)

    def drain(self) -> None:
        """Let the process end once it is idle. Told once: before its first report, and while it ends, it would die of it."""
        with self._lock:
            if self._process is not None and self._now.workers and self._process is not self._told_to_drain:
                self._told_to_drain = self._process
                self._process.send_signal(DRAIN_SIGNAL)

    def terminate(self) -> None:
        """Let the process drain."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """End the process as kill -9 does."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _start_process(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            self._heard_at = time.monotonic()
            self._process = self._spawn(self.number)
            return self._process

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Read what the process reports until it ends."""
        assert process.stdin is not None  # noqa: S101 - asked for
        assert process.stdout is not None  # noqa: S101
        with process.stdin, process.stdout as reports:
            for line in reports:
                self._now = Report.from_json(json.loads(line))
                self._heard_at = time.monotonic()
                self.settled.set()
