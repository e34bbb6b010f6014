"""How many associations are open: in one process, or in all the workers that share a spool."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol


class AssociationCounts(Protocol):
    """Counts by name (all, an AE title, an address). Safe to call from several threads. Every method raises OSError."""

    def take(self, limits: Mapping[str, int]) -> bool:
        """Count one more under each name; False, and nothing is counted, when one of them is at its limit."""

    def give_back(self, names: Iterable[str]) -> None:
        """Count one less under each name, also when an error is raised."""

    def close(self) -> None:
        """Count nothing of this process any more."""


class LocalCounts:
    """The counts of a receiver that is one process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, limits: Mapping[str, int]) -> bool:
        with self._lock:
            if any(self._counts[name] >= limit for name, limit in limits.items()):
                return False
            self._counts.update(limits.keys())
            return True

    def give_back(self, names: Iterable[str]) -> None:
        with self._lock:
            self._counts.subtract(names)
            self._counts += Counter()  # drops the names that are at zero

    def close(self) -> None:
        pass


class SharedCounts:
    """The counts of all processes that were given the same folder.

    Each process keeps a file of its own there, locked (flock) as long as it lives: the file of a dead process has lost its
    lock, so what it held counts no more. Everything is done under one more lock, for tens of microseconds.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made when missing. Raises OSError."""
        folder.mkdir(mode=0o750, exist_ok=True)
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._thread_lock = threading.Lock()
        self._mutex = os.open(folder / "mutex", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        with self._alone():
            self._path = folder / f"{secrets.token_hex(8)}.counts"
            self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def take(self, limits: Mapping[str, int]) -> bool:
        with self._alone():
            total = self._counts + self._others()
            if any(total[name] >= limit for name, limit in limits.items()):
                return False
            self._counts.update(limits.keys())
            try:
                self._write()
            except OSError:
                self._counts.subtract(limits.keys())
                raise
            return True

    def give_back(self, names: Iterable[str]) -> None:
        with self._alone():
            self._counts.subtract(names)
            self._counts += Counter()
            self._write()

    def close(self) -> None:
        with self._alone():
            self._path.unlink(missing_ok=True)
            os.close(self._file)
        os.close(self._mutex)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._thread_lock:
            fcntl.flock(self._mutex, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._mutex, fcntl.LOCK_UN)

    def _write(self) -> None:
        content = json.dumps(self._counts).encode()
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))

    def _others(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for path in self._folder.glob("*.counts"):
            if path == self._path:
                continue
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()  # its process is dead
            except BlockingIOError:
                total.update(json.loads(path.read_bytes() or b"{}"))
            finally:
                os.close(file)
        return total
