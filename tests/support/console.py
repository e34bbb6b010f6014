"""Runs the operators' commands as they run them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.support.stack import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stack import RunningStack


def ahi_ingest(stack: RunningStack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`ahi-ingest ARGUMENTS --state FOLDER`, on a terminal that is wide enough for whole lines."""
    return subprocess.run(
        [COMMAND, *arguments, "--state", stack.state],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": "250"},
    )
