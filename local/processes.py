"""Programs of the local stack as supervised child processes: each with a log, a readiness probe and a sure end.

Invariants:
- A started program is ready, or `start` raises with the end of its log and leaves nothing running.
- `stop` ends the program and whatever it started, and nothing else (see local/guardian.py).
- When this process ends without calling `stop`, kill -9 included, its programs end too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOPBACK = "127.0.0.1"

_GUARDIAN = Path(__file__).with_name("guardian.py")
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 4096


class ProcessError(Exception):
    """A program died, or was not ready in time. The text holds the end of its log."""


class Process:
    """One running program. Use as a context manager, or call `stop`."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], lifeline: int, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._popen = popen
        self._lifeline = lifeline

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        ready: Callable[[], bool],
        ready_within_seconds: float = 30,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Self:
        """Run `command`, its output appended to `log_path`, and return when `ready()` says so.

        Raises ProcessError when it ends before it is ready, or is not ready within `ready_within_seconds`.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        lifeline_read, lifeline_write = os.pipe()
        with log_path.open("ab") as log:
            log_start = log.tell()
            popen = subprocess.Popen(  # noqa: S603 - the callers are this project's own
                [sys.executable, "-I", "-S", str(_GUARDIAN), str(lifeline_read), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                pass_fds=[lifeline_read],
                start_new_session=True,  # so the group exists as soon as there is anything to kill
            )
        os.close(lifeline_read)
        process = cls(name, popen, lifeline_write, log_path)
        try:
            process._wait_until(ready, ready_within_seconds, log_start)
        except BaseException:
            process.kill()
            raise
        return process

    @property
    def group(self) -> int:
        """The process group of the program; for tests that kill -9 it."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the program to end by itself, and return its exit code. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout_seconds)

    def stop(self, within_seconds: float = 15) -> None:
        """End the program by SIGTERM, after `within_seconds` by SIGKILL, with whatever it started."""
        if self.running:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(within_seconds)
        self.kill()

    def kill(self) -> None:
        """End the program and whatever it started at once, as kill -9 does."""
        with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            os.killpg(self.group, signal.SIGKILL)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until(self, ready: Callable[[], bool], within_seconds: float, log_start: int) -> None:
        deadline = time.monotonic() + within_seconds
        while True:
            if not self.running:
                raise ProcessError(f"{self.name} ended with code {self._popen.returncode}.\n{self._log_since(log_start)}")
            if ready():
                return
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready in {within_seconds:g} s.\n{self._log_since(log_start)}")
            time.sleep(_POLL_SECONDS)

    def _log_since(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(start, end - _LOG_TAIL_BYTES))
            tail = log.read().decode(errors="replace")
        return f"The end of {self.log_path}:\n{tail}"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def http_answers(url: str) -> Callable[[], bool]:
    """A probe: ready when a GET of `url` is answered with a 2xx status."""

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback URLs of our own
                return bool(200 <= answer.status < 300)
        except (OSError, urllib.error.URLError):
            return False

    return probe


def accepts(port: int) -> Callable[[], bool]:
    """A probe: ready when the port on loopback takes a connection."""

    def probe() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=2):
                return True
        except OSError:
            return False

    return probe
