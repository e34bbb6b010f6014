"""Runs the operators' commands as they type them, in this process: a Python less to start for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from ahi_ingest import app

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stack import RunningStack


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def ahi_ingest(stack: RunningStack, *arguments: str | Path) -> Ran:
    """`ahi-ingest ARGUMENTS --state FOLDER`, on a terminal that is wide enough for whole lines."""
    typed = [*map(str, arguments), "--state", str(stack.state)]
    result = CliRunner().invoke(app, typed, env={"COLUMNS": "250"}, catch_exceptions=False)
    return Ran(result.exit_code, result.stdout, result.stderr)
