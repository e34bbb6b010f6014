"""Threads of a receiver share two of glibc's heaps."""

from __future__ import annotations

import re
import subprocess
import sys

_PROGRAM = """
import ctypes, sys, threading
from receiver.memory import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
all_at_once = threading.Barrier(8)

def allocate():
    all_at_once.wait()
    block = c.malloc(10_000)  # each time in the heap of this thread
    all_at_once.wait()
    c.free(block)

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.stdout.flush()
c.fdopen.restype = ctypes.c_void_p
c.malloc_info(0, ctypes.c_void_p(c.fdopen(1, b"w")))
c.fflush(None)
"""


def _heaps(how: str) -> int:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
    return len(re.findall(r"<heap nr=", ran.stdout))


def test_threads_share_two_heaps() -> None:
    assert _heaps("shared") <= 2 < _heaps("each its own")
