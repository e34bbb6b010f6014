"""The folder of one process in the spool."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from receiver.filesystem import FileSystem
from receiver.spool.recycling import RecycledFiles


class Boot:
    """The folder of one process: ours, or one that a dead process left and whose lock we now hold.

    Files are recycled in ours alone: what is found after a crash may have a name that is not seen now.
    """

    def __init__(
        self, files: FileSystem, path: Path, release: Callable[[], None], *, ours: bool, recycle_bytes: int = 0
    ) -> None:
        self.path, self.files, self._release, self._ours = path, files, release, ours
        self.recycled = RecycledFiles(files, path, max_bytes=recycle_bytes)
        self._associations: set[str] = set()
        self._lock = threading.Lock()

    def hold(self, association: str) -> None:
        with self._lock:
            self._associations.add(association)

    def forget(self, association: str) -> None:
        """An association is gone; with its last one, a dead process's folder goes too."""
        with self._lock:
            self._associations.discard(association)
            empty = not self._associations
        if empty and not self._ours:
            self.close()

    def close(self) -> None:
        """Give the folder back, and remove it if nothing is left in it. Called once."""
        self.recycled.remove_all()
        with contextlib.suppress(OSError):
            if self.files.names(self.path) == ["lock"]:
                self.files.remove_file(self.path / "lock")
                self.files.remove_folder(self.path)
        self._release()
