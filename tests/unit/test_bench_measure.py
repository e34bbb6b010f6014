"""What the benchmarks say of CPU time."""

from __future__ import annotations

import subprocess
import sys

import psutil

from bench.measure import cpu_seconds

CHILDREN = 20
_EACH_MS = 4
_FORKS = f"""
import os, sys, time
for _ in range({CHILDREN}):
    if os.fork() == 0:
        while time.process_time() < {_EACH_MS} / 1000:
            pass
        os._exit(0)
time.sleep(0.5)
print("done", flush=True)
sys.stdin.read()
"""


def test_what_many_short_processes_took_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"done\n"
        taken = cpu_seconds(psutil.Process(parent.pid))
        parent.communicate(b"")
    assert taken >= CHILDREN * _EACH_MS / 1000
