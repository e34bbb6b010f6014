"""One run of the local stack in the foreground: signals, words for people, and the exit code."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from local.deploy import DeployError
from local.processes import ProcessError
from local.stack import PORTS, Stack, StackError
from local.state import StateError, StateFolder
from local.supervisor import ServiceDiedError
from local.synth import SynthError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

_FAILURES = (
    BotoCoreError,
    ClientError,
    DeployError,
    OSError,
    ProcessError,
    ServiceDiedError,
    StackError,
    StateError,
    SynthError,
)


class _Stopped(BaseException):
    """SIGTERM or SIGINT arrived. Not an Exception, so that no step takes it for a failure of its own."""


def run(state_folder: Path, *, dicom_port: int | None) -> int:
    """Run the stack until a signal ends it: 0. When it cannot be started, or cannot go on: 1, and why on stderr."""
    # Nothing here may reach a developer's AWS account, by whatever client.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    console = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    try:
        with _stopped_by_signals(), StateFolder.owned(state_folder) as state:
            began = time.monotonic()
            stack = Stack(state, state.ports(PORTS, dicom_port=dicom_port), report=say)
            try:
                endpoints = stack.start()
                state.publish(endpoints)
                say(f"Ready after {time.monotonic() - began:.1f} s.")
                _introduce(endpoints, state_folder, console)
                stack.supervise()
            finally:
                state.withdraw()
                say("Stopping.")
                stack.stop()
    except _Stopped:
        return 0
    except _FAILURES as error:
        say(str(error))
        return 1
    return 0


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise _Stopped at the first SIGTERM or SIGINT; further ones are ignored while everything is ended."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _introduce(endpoints: dict[str, Any], state_folder: Path, console: Console) -> None:
    dicom, mysql = endpoints["dicom"], endpoints["mysql"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("DICOM", f"{dicom['host']}:{dicom['port']}", "any AE title is taken")
    table.add_row("AWS", endpoints["aws"]["endpoint_url"], f"bucket {endpoints['bucket']}")
    table.add_row("Step Functions", endpoints["stepfunctions"]["endpoint_url"], "")
    table.add_row("HealthImaging", endpoints["medical_imaging"]["endpoint_url"], "")
    table.add_row("MySQL", f"{mysql['host']}:{mysql['port']}", f"database {mysql['database']}")
    console.print(table)
    option = "" if os.fspath(state_folder) == ".ahi-ingest" else f" --state {state_folder}"
    for line in (
        f"All of it, with passwords: {state_folder}/endpoints.json",
        f"Now, in another terminal:  ahi-ingest send FOLDER{option}  and  ahi-ingest list{option}",
        "Ctrl-C ends it; everything is kept for the next time.",
    ):
        console.print(line, markup=False, soft_wrap=True)
