"""Keeps the receiver's memory small.

glibc gives every thread a heap of its own and keeps what was freed in each: after some thousand associations a process held
200 MiB and used 90. Other C libraries have no such calls, and nothing is done there.
"""

from __future__ import annotations

import ctypes

_C = ctypes.CDLL(None)
_trim, _option = getattr(_C, "malloc_trim", None), getattr(_C, "mallopt", None)
_M_ARENA_MAX = -8  # malloc.h


def share_heaps() -> None:
    """Let all threads share two heaps; called before there are any. They wait for the interpreter's lock far more often."""
    if _option is not None:
        _option(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(2))


def give_back_free_memory() -> None:
    """Return to the system what was freed. Takes some milliseconds after a burst, next to nothing otherwise."""
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
