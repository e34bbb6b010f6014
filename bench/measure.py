"""What is measured of a server, and what is said of several rounds."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.1
_SETTLE_SECONDS, _IDLE_SECONDS = 0.4, 0.03


def cpu_seconds(root: psutil.Process) -> float:
    """User and system time of a process, of its descendants, and of those it has waited for.

    The kernel tells both in hundredths of a second, cut: of sixteen processes that ran for 5 ms each nothing would be seen. It
    tells nanoseconds of each thread, but only while there is one. So what is more counts.
    """
    total = 0.0
    for process in _tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += max(times.user + times.system, _scheduled_seconds(process.pid))
            total += times.children_user + times.children_system
    return total


def _scheduled_seconds(pid: int) -> float:
    """How long the present threads of a process ran; 0 where the kernel does not say."""
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                nanoseconds += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return nanoseconds / 1e9


def settle(root: psutil.Process, within_seconds: float = 15) -> None:
    """Wait until a tree of processes has nothing to do: servers open their port before all their workers are there."""
    deadline, before = time.monotonic() + within_seconds, -1.0
    while (now := cpu_seconds(root)) - before > _IDLE_SECONDS and time.monotonic() < deadline:
        before = now
        time.sleep(_SETTLE_SECONDS)


class PeakMemory:
    """The largest resident set that any one process of a tree had, in MiB: the kernel's own high-water mark, sampled."""

    def __init__(self, root: psutil.Process) -> None:
        self._root, self._peak_kib, self._stop = root, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    @property
    def mib(self) -> float:
        return self._peak_kib / 1024

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        for process in _tree(self._root):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
                    if line.startswith("VmHWM:"):
                        self._peak_kib = max(self._peak_kib, int(line.split()[1]))


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


@dataclass(frozen=True, slots=True)
class Interval:
    """A median of rounds with its interval. `coverage` is the chance that the interval holds the true median, 0 to 1."""

    median: float
    low: float
    high: float
    coverage: float


def interval(figures: Sequence[float]) -> Interval:
    """The median, and the narrowest interval between two of the figures that covers the true median in 95% of cases.

    From order statistics, so nothing is assumed of how figures are spread. Below six rounds no two figures cover 95%: then it
    is the whole range, and `coverage` says how little that is.
    """
    ordered, count = sorted(figures), len(figures)
    cut, coverage = 0, 1 - 2 * 0.5**count
    while 2 * (cut + 1) < count:
        tail = sum(math.comb(count, k) for k in range(cut + 2)) * 0.5**count
        if 1 - 2 * tail < 0.95:
            break
        cut, coverage = cut + 1, 1 - 2 * tail
    return Interval(statistics.median(ordered), ordered[cut], ordered[-1 - cut], coverage)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Ours to theirs, round by round: what else the machine did in a round fell on both."""
    return interval([one / other for one, other in zip(ours, theirs, strict=True)])


def geometric_mean(figures: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, figures)) / len(figures))
