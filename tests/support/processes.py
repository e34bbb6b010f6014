"""The receiver's processes, looked up in /proc, and a receiver that is expected to end by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.receiver import EdgeProcess


def receiver_pid(edge: EdgeProcess) -> int:
    """The receiver, or the supervisor of its workers."""
    (pid,) = _processes_of(edge, b"-m\0receiver\0")
    return pid


def worker_pids(edge: EdgeProcess) -> set[int]:
    """The receiver's workers, when it has several."""
    return _processes_of(edge, b"-m\0receiver.worker\0")


def run_receiver(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end by itself."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "receiver"]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def _processes_of(edge: EdgeProcess, ending: bytes) -> set[int]:
    assert edge.process is not None
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if int(stat[2]) == edge.process.group and command.endswith(ending) and b"guardian" not in command:
                found.add(int(entry.name))
    return found
