"""How slowly a peer may send a message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlowestPace:
    """A peer that within a message kept us waiting for `seconds` must have sent `bytes_per_second` meanwhile; 0 is no limit."""

    bytes_per_second: float = 0
    seconds: float = 60


class Pace:
    """The pace of one peer. Only its own time counts: how long we take, for the disk perhaps, is not its fault."""

    def __init__(self, slowest: SlowestPace) -> None:
        self._slowest = slowest
        self._seconds, self._bytes = 0.0, 0

    def begin(self) -> None:
        """A message begins."""
        self._seconds, self._bytes = 0.0, 0

    def is_too_slow(self, count: int, waited_seconds: float) -> bool:
        """Whether it is, now that another `count` bytes of the message were waited for so long."""
        self._seconds += waited_seconds
        self._bytes += count
        if self._seconds < self._slowest.seconds:
            return False
        too_slow = self._bytes < self._slowest.bytes_per_second * self._seconds
        self.begin()
        return too_slow
