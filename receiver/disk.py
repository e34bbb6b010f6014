"""The disk under the spool while it fills: senders are slowed first, then refused, and let in again by themselves.

    free space
        above `low_bytes`        as fast as senders can
        below `low_bytes`        each response waits, longer the less there is, RESPONSE_DELAY_MAX_SECONDS at most
        below `reserve_bytes`    objects are answered 0xA700, new associations rejected 2/3/1

The reserve is for what must be written though the disk is full: seals and manifests, without which nothing can be uploaded
and removed.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable

RESPONSE_DELAY_MAX_SECONDS = 8.0
"""A sender that waits for 10 s may give up; what is left is for the syncs."""

_LOOKED_AT_EVERY_SECONDS = 0.25

_log = logging.getLogger(__name__)


class Disk:
    """Free space, looked at a few times a second, less what was written since. Safe to use from several threads."""

    def __init__(
        self,
        free_bytes: Callable[[], int],
        *,
        low_bytes: int,
        reserve_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`free_bytes` raises OSError, which counts as no free space. `low_bytes` is at least `reserve_bytes`."""
        self._free_bytes, self._low_bytes, self._reserve_bytes = free_bytes, low_bytes, reserve_bytes
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._free = 0
        self._state = ""

    def has_room(self) -> bool:
        """Whether new associations are taken."""
        return self._look() >= self._reserve_bytes

    def take(self, size_bytes: int) -> None:
        """Before so much is written of an object. Raises OSError (ENOSPC) below the reserve."""
        if self._look(size_bytes) < self._reserve_bytes:
            raise OSError(errno.ENOSPC, "the disk is below its reserve (AHI_INGEST_DISK_RESERVE_BYTES)")

    def slow_down(self) -> None:
        """Before an object is answered: wait if there is little space."""
        free = self._look()
        if free < self._low_bytes:
            missing = (self._low_bytes - free) / max(1, self._low_bytes - self._reserve_bytes)
            self._sleep(RESPONSE_DELAY_MAX_SECONDS * min(1.0, missing))

    def _look(self, taken_bytes: int = 0) -> int:
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= _LOOKED_AT_EVERY_SECONDS:
                self._looked_at = now
                try:
                    self._free = self._free_bytes()
                except OSError:
                    self._free = 0
                self._tell()
            self._free -= taken_bytes
            return self._free

    def _tell(self) -> None:
        """A log line when things change."""
        if self._free < self._reserve_bytes:
            state, level = "the disk is below its reserve: objects and associations are refused", logging.ERROR
        elif self._free < self._low_bytes:
            state, level = "the disk is low: senders are slowed", logging.WARNING
        else:
            state, level = "the disk has room", logging.INFO
        if state != self._state:
            self._state = state
            _log.log(level, state, extra={"free_bytes": self._free})
