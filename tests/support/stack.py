"""`ahi-ingest up` as a program: started, stopped, killed and started again on one state folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from local.aws import Aws
from local.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_WITHIN_SECONDS = 120
ENDED_WITHIN_SECONDS = 60
_POLL_SECONDS = 0.1
COMMAND = Path(sys.executable).with_name("ahi-ingest")


class RunningStack:
    """A stack that is ready. Use as a context manager, or call `stop`."""

    def __init__(self, state: Path, process: subprocess.Popen[bytes], endpoints: Mapping[str, Any]) -> None:
        self.state = state
        self.process = process
        self.endpoints = endpoints

    @classmethod
    def start(cls, state: Path, *, dicom_port: int | None = None, env: Mapping[str, str] | None = None) -> Self:
        """Start `up` on the state folder and wait until it is ready. Its words go to `up.log` in the folder.

        `env` is added to our environment: AHI_INGEST_* variables reach the receiver.
        """
        state.mkdir(parents=True, exist_ok=True)
        port = dicom_port or _remembered_port(state) or free_port()
        endpoints = state / "endpoints.json"
        stale = _written_at(endpoints)  # by a run that was killed
        with (state / "up.log").open("ab") as log:
            process = subprocess.Popen(
                [COMMAND, "up", "--state", state, "--dicom-port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while _written_at(endpoints) in (None, stale):
            said = (state / "up.log").read_text(errors="replace")
            if process.poll() is not None:
                raise AssertionError(f"`up` ended with code {process.returncode}:\n{said}")
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"`up` was not ready in {READY_WITHIN_SECONDS} s:\n{said}")
            time.sleep(_POLL_SECONDS)
        return cls(state, process, json.loads(endpoints.read_text()))

    def stop(self) -> int:
        """End it by SIGTERM; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(ENDED_WITHIN_SECONDS)

    def kill(self) -> None:
        """kill -9 of `up`: its programs die with it. Returns when all of them are gone."""
        programs = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + ENDED_WITHIN_SECONDS
        while left := programs.items() & commands().items():
            if time.monotonic() > deadline:
                raise AssertionError(f"These outlived `up`: {left}")
            time.sleep(_POLL_SECONDS)

    def again(self) -> RunningStack:
        """The stack of the same folder, started again, after `stop` or `kill`."""
        return RunningStack.start(self.state)

    def kill_program(self, named: str) -> None:
        """kill -9 of the one program of the stack with `named` in its command line, such as `-m receiver`."""
        programs = descendants(self.process.pid).items()
        (found,) = [pid for pid, command in programs if named in command and "guardian.py" not in command]
        os.kill(found, signal.SIGKILL)

    @cached_property
    def aws(self) -> Aws:
        return Aws(self.endpoints["aws"]["endpoint_url"])

    @cached_property
    def engine(self) -> Aws:
        return Aws(self.endpoints["stepfunctions"]["endpoint_url"])

    @cached_property
    def healthimaging(self) -> Aws:
        return Aws(self.endpoints["medical_imaging"]["endpoint_url"])

    @property
    def dicom_address(self) -> tuple[str, int]:
        return self.endpoints["dicom"]["host"], self.endpoints["dicom"]["port"]

    def executions(self, machine: str = "ingest") -> dict[str, str]:
        """The status of every execution of a machine, by name."""
        pages = self.engine.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self.endpoints["state_machines"][machine]
        )
        return {execution["name"]: execution["status"] for page in pages for execution in page["executions"]}

    def wait_for_executions(self, count: int, *, within_seconds: float = 120) -> dict[str, str]:
        """The status of every ingest execution, once there are `count` and all have ended."""
        deadline = time.monotonic() + within_seconds
        while True:
            executions = self.executions()
            if len(executions) >= count and "RUNNING" not in executions.values():
                return executions
            if time.monotonic() > deadline:
                raise AssertionError(f"After {within_seconds:g} s, of {count} executions: {executions}")
            time.sleep(_POLL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def commands() -> dict[int, str]:
    """The command line of every process."""
    return {pid: command for pid, _, command in _processes()}


def descendants(ancestor: int) -> dict[int, str]:
    """The command lines of the processes that a process started, and of those that they started."""
    processes = _processes()
    found: set[int] = set()
    generation = {ancestor}
    while generation:
        generation = {pid for pid, parent, _ in processes if parent in generation}
        found |= generation
    return {pid: command for pid, _, command in processes if pid in found}


def _processes() -> list[tuple[int, int, str]]:
    """(pid, parent's pid, command line) of every process that has not ended."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=3) for line in listed.splitlines())
    return [(int(row[0]), int(row[1]), row[3]) for row in rows if not row[2].startswith("Z")]


def _written_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _remembered_port(state: Path) -> int | None:
    path = state / "ports.json"
    port: int | None = json.loads(path.read_text())["dicom"] if path.exists() else None
    return port
