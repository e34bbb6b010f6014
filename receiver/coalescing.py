"""Associations that follow each other closely and share a manifest (AHI_INGEST_COALESCE_SECONDS), of one process.

When an association ends, its folder is kept open for that long. The next of the same calling AE, called AE and peer that is
accepted meanwhile goes on in it, unless another has taken it: who comes then has a folder of its own. Objects are durable and
uploaded as always; what waits is the manifest. A folder is sealed
    - when nothing has joined it for the time, or at the end of an association when it was begun 10 times that ago
    - when it holds a part's objects or bytes, or its disk has failed: an association that tries again needs another
    - at once from `close` on: when the receiver drains or stops.
What a dead process left open is sealed at the next start (receiver/spool/leftover.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from contract import Ending
from receiver.logs import error_text
from receiver.spool import AssociationFolder, StoredObject
from receiver.spool.members import ending_of
from receiver.uploads import AssociationUpload

_OPEN_FOR = 10
"""How long a folder may take new associations, in times of how long it waits for each."""

_ENDS_WITHIN_SECONDS = 1.0

Sender = tuple[str, str, str]
"""Calling AE, called AE, peer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Shared:
    """A folder that associations share, and what is known of them."""

    folder: AssociationFolder
    upload: AssociationUpload
    closes_at: float
    sealed_after: float = 0.0  # while nobody writes
    objects: int = 0
    size_bytes: int = 0
    endings: list[Ending] = field(default_factory=list)
    ended_at: datetime | None = None

    @property
    def sender(self) -> Sender:
        facts = self.folder.facts
        return facts.calling_ae, facts.called_ae, facts.peer

    @property
    def is_full(self) -> bool:
        facts = self.folder.facts
        return self.folder.broken or self.objects >= facts.part_max_objects or self.size_bytes >= facts.part_max_bytes


class Member:
    """An association in a folder that it may share, as its reception sees it (receiver.reception.Upload)."""

    def __init__(self, coalescing: Coalescing, association: str, shared: _Shared) -> None:
        self.association, self.folder = association, shared.folder
        self._coalescing, self._shared = coalescing, shared
        self._objects = 0

    def add(self, stored: StoredObject, confirmed: threading.Event | None = None) -> None:
        """One more object is durable."""
        self._objects += 1
        self._shared.objects += 1
        self._shared.size_bytes += stored.size_bytes
        self._shared.upload.add(stored, confirmed)

    def end(self, ending: Ending, ended_at: datetime) -> None:
        """No more objects of this one."""
        shared, failed = self._shared, False
        self._coalescing.ending(shared)
        if self._objects:
            shared.endings.append(ending)
            shared.ended_at = ended_at
            try:
                shared.folder.end_member(ending, ended_at)
            except OSError as error:
                failed = True
                _log.error(
                    "end not kept, will be tried again", extra={"association": self.association, "error": error_text(error)}
                )
        self._coalescing.give_back(shared, joined=bool(self._objects), failed=failed)


class Coalescing:
    """The folders that are open for more. `start` and `close`, once each; `close` may be called again."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds`: how long a folder waits for the next association, more than 0."""
        self._seconds, self._clock = seconds, clock
        self._free: list[_Shared] = []  # the one that was given back last, last
        self._ending: list[_Shared] = []  # for as long as the disk takes
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="coalescing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Seal what is open, now and from now on."""
        with self._changed:
            self._closed = True
            left, self._free = self._free, []
            self._changed.notify_all()
        for shared in left:
            _seal(shared)

    def join(self, sender: Sender, association: str, started_at: datetime) -> Member | None:
        """Let an association go on in the folder of an earlier one; None when there is none that is free."""
        with self._changed:
            self._changed.wait_for(lambda: not any(one.sender == sender for one in self._ending), _ENDS_WITHIN_SECONDS)
            shared = next((one for one in reversed(self._free) if one.sender == sender), None)
            if shared is None:
                return None
            self._free.remove(shared)
        shared.folder.begin_member(association, started_at)
        return Member(self, association, shared)

    def begin(self, folder: AssociationFolder, upload: AssociationUpload) -> Member:
        """An association that has a folder of its own, in which others may go on."""
        shared = _Shared(folder, upload, closes_at=self._clock() + _OPEN_FOR * self._seconds)
        return Member(self, folder.facts.association, shared)

    def ending(self, shared: _Shared) -> None:
        """An association has been released, and will be given back: who comes in that moment waits for it."""
        with self._changed:
            self._ending.append(shared)

    def give_back(self, shared: _Shared, *, joined: bool, failed: bool) -> None:
        """An association has ended; `joined` if it brought anything, `failed` if the disk did not take how it ended."""
        now = self._clock()
        if joined:
            shared.sealed_after = min(now + self._seconds, shared.closes_at)
        with self._changed:
            self._ending.remove(shared)
            open_ = not (self._closed or failed or shared.is_full) and now < shared.sealed_after
            if open_:
                self._free.append(shared)
            self._changed.notify_all()
        if not open_:
            _seal(shared)

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                now = self._clock()
                due = [shared for shared in self._free if shared.sealed_after <= now]
                self._free = [shared for shared in self._free if shared.sealed_after > now]
                if not due and not self._closed:
                    next_at = min((shared.sealed_after for shared in self._free), default=None)
                    self._changed.wait(None if next_at is None else next_at - now)
            for shared in due:
                _seal(shared)


def _seal(shared: _Shared) -> None:
    """End a folder, of associations that brought something or of one that did not."""
    shared.upload.end(ending_of(shared.endings), shared.ended_at or shared.folder.now())
