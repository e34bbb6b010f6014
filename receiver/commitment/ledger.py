"""What S3 has verified, and how far that is with each association in the spool.

Invariants
    - An object is in the ledger only when S3 has verified it.
    - An association's progress counts its first objects in order of arrival, all of which are in the ledger: not one that came
      later, which S3 may have first.
    - Before an association's folder is removed, all its objects are in the ledger, durably (`finish`).
    - Meanwhile a thread writes down what there is, a few times a second: receiving and uploading never wait for it, and what
      a crash takes from it is found again with the association's folder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from receiver.commitment.database import Database, DatabaseError

_GATHER_SECONDS = 0.1
"""How long objects gather before they are written in one transaction."""
_RETRY_SECONDS = 1.0
_DELETE_AT_ONCE = 1000
_ASKED_AT_ONCE = 500

_log = logging.getLogger(__name__)


class VerifiedObject(NamedTuple):
    """An object that S3 has; UIDs are the raw values."""

    sop_class: str
    sop_instance: str
    quarantined: bool


class KnownObject(NamedTuple):
    """An object as the ledger has it, with the association that sent it last."""

    sop_class: str
    sop_instance: str
    quarantined: bool
    association: str


class Ledger:
    """The ledger, as the uploads of one process write it. `start` and `stop`, once each."""

    def __init__(self, database: Database, *, keep_seconds: float, clock: Callable[[], float] = time.time) -> None:
        """`keep_seconds`: how long an object is remembered."""
        self._database, self._keep_seconds, self._clock = database, keep_seconds, clock
        self._progress: dict[str, int] = {}  # by association
        self._changed: set[str] = set()
        self._verified: list[tuple[str, VerifiedObject]] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # what another thread took to write is not written before that thread says so
        self._there_is_work, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="commitment-ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write down what has gathered, if that is possible now."""
        self._stopping.set()
        self._there_is_work.set()
        self._thread.join()

    # What the uploads say (receiver.uploads.UploadLedger).

    def verified(self, association: str, verified: VerifiedObject, *, in_s3: int) -> None:
        """S3 has one more object, and of the association now the first `in_s3` in order of arrival."""
        with self._lock:
            self._verified.append((association, verified))
            self._progress[association] = in_s3
            self._changed.add(association)
        if not self._there_is_work.is_set():  # which costs less than to set it, at every object
            self._there_is_work.set()

    def finish(self, association: str, objects: Iterable[VerifiedObject]) -> None:
        """All of an association is in S3; durable when this returns.

        `objects` are those that this process did not say `verified` of. Raises OSError, as the database or as reading them
        does; then nothing of them is remembered, and the call is to be made again.
        """
        self.write(finished=association, objects=[(association, one) for one in objects])

    def write(self, finished: str = "", objects: Sequence[tuple[str, VerifiedObject]] = ()) -> None:
        """Write down what has gathered, and `objects`; durable when this returns. Raises DatabaseError, and keeps the first."""
        with self._writing:
            with self._lock:
                verified, self._verified = self._verified, []
                changed, self._changed = self._changed, set()
                progress = [(name, self._progress[name]) for name in changed if name != finished]
            now = self._clock()
            try:
                with self._database.transaction() as sql:
                    sql.executemany(
                        "INSERT OR REPLACE INTO instance (sop_instance, sop_class, quarantined, association, recorded_at)"
                        " VALUES (?, ?, ?, ?, ?)",
                        [
                            (one.sop_instance, one.sop_class, one.quarantined, association, now)
                            for association, one in (*verified, *objects)
                        ],
                    )
                    sql.executemany(
                        "INSERT OR REPLACE INTO progress (association, in_s3, changed_at) VALUES (?, ?, ?)",
                        [(*one, now) for one in progress],
                    )
                    sql.execute("DELETE FROM progress WHERE association = ?", (finished,))
            except DatabaseError:
                with self._lock:
                    self._verified = verified + self._verified
                    self._changed |= changed
                raise
            with self._lock:
                self._progress.pop(finished, None)
                self._changed.discard(finished)

    def forget_old(self) -> None:
        """Delete what is older than it has to be kept. Raises DatabaseError."""
        before = self._clock() - self._keep_seconds
        while True:
            with self._database.transaction() as sql:
                deleted = sql.execute(
                    "DELETE FROM instance WHERE recorded_at < ?"
                    " AND number IN (SELECT number FROM instance ORDER BY number LIMIT ?)",
                    (before, _DELETE_AT_ONCE),
                ).rowcount
                sql.execute("DELETE FROM progress WHERE changed_at < ?", (before,))
            if deleted < _DELETE_AT_ONCE:
                return

    # What requests are resolved by.

    def find(self, sop_instances: Sequence[str]) -> dict[str, list[KnownObject]]:
        """What is known, by SOP Instance UID. Raises DatabaseError."""
        found: dict[str, list[KnownObject]] = {}
        for at in range(0, len(sop_instances), _ASKED_AT_ONCE):
            some = sop_instances[at : at + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            for row in self._database.rows(
                f"SELECT sop_class, sop_instance, quarantined, association FROM instance WHERE sop_instance IN ({marks})",  # noqa: S608
                tuple(some),
            ):
                one = KnownObject(row["sop_class"], row["sop_instance"], bool(row["quarantined"]), row["association"])
                found.setdefault(one.sop_instance, []).append(one)
        return found

    def progress(self) -> Mapping[str, int]:
        """How many of its first objects `find` finds, by association, of whatever process. Raises DatabaseError."""
        return {row["association"]: row["in_s3"] for row in self._database.rows("SELECT association, in_s3 FROM progress")}

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._there_is_work.wait()
            self._stopping.wait(_GATHER_SECONDS)
            self._there_is_work.clear()
            try:
                self.write()
            except DatabaseError as error:
                _log.error("the commitment ledger was not written, will be tried again", extra={"error": str(error)})
                self._there_is_work.set()
                self._stopping.wait(_RETRY_SECONDS)
