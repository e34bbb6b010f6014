"""Files of associations that are gone, for new objects to be written over.

What a sync costs a disk is mostly new blocks: a file that has its blocks takes about half as long (docs/adr/0018).

    <spool>/out/<boot id>/removed-files/N      by its name it goes at the next start, as whatever is being removed

Nothing of this is durable, and nothing depends on it. A file comes here when its old name is durably gone, and has no other:
a crash can show it here, or as the temporary file that it became, and both are removed. As an object it has that object's bytes
and size, synced as those of a new file are.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from receiver.filesystem import FileSystem
from receiver.spool.durable import remove_tree

FOLDER = "removed-files"
UNUSED_SECONDS = 600.0
"""After so long without use all are removed: their blocks would have to be read before they are written over in part."""
_FILE_MAX_BYTES = 16 * 2**20  # a larger one spends its time on its data
_SIZE_BITS = 32


class RecycledFiles:
    """The files that one process keeps, `max_bytes` of them at most. Safe to use from several threads; nothing here raises."""

    def __init__(self, files: FileSystem, boot: Path, *, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._path, self._max_bytes, self._clock = files, boot / FOLDER, max_bytes, clock
        self._lock = threading.Lock()
        self._kept: defaultdict[int, array[int]] = defaultdict(partial(array, "Q"))  # number and size, by the size's bits
        self._bytes, self._made = 0, False
        self._used_at = clock()
        self._numbers = itertools.count(1)
        self.usual_bytes = 0
        """What the last object had: what the first of an association is expected to have."""

    def keep(self, path: Path) -> None:
        """Take a file out of a folder that is durably being removed, unless it is not wanted."""
        with contextlib.suppress(OSError), self._lock:
            size = self._files.size(path)
            if size > _FILE_MAX_BYTES or self._bytes + size > self._max_bytes or self._files.links(path) > 1:
                return
            if not self._made:
                self._files.make_folder(self._path)
                self._made = True
            number = next(self._numbers)
            self._files.move(path, self._path / str(number))
            self._kept[size.bit_length()].append(number << _SIZE_BITS | size)
            self._bytes += size
            self._used_at = self._clock()

    def take(self, folder: Path, name: str, expected_bytes: int) -> tuple[int, int] | None:
        """A file of about this size under a new name, open to be written over, and its size; None when there is none."""
        with self._lock:
            alike = self._kept[expected_bytes.bit_length()]
            if not alike:
                return None
            number, size = divmod(alike.pop(), 2**_SIZE_BITS)  # the last one: it is still in the page cache
            self._bytes -= size
            self._used_at = self._clock()
        with contextlib.suppress(OSError):
            return self._files.reuse(self._path / str(number), folder / name), size
        return None

    def remove_unused(self) -> None:
        """Remove all when none was used for long."""
        if self._clock() - self._used_at > UNUSED_SECONDS:
            self.remove_all()

    def remove_all(self) -> bool:
        """Give their space back; whether there was any."""
        with self._lock:
            had, self._bytes = self._bytes > 0, 0
            self._kept.clear()
            if self._made:
                with contextlib.suppress(OSError):
                    remove_tree(self._files, self._path)
                    self._made = False
        return had
