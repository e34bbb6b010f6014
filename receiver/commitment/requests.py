"""Commitment requests: kept until their peers were told, and then for as long as their transaction UIDs must be known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from receiver.commitment.database import Database
from receiver.dicom.commitment import CommitmentRequest, CommitmentResult, Reference
from receiver.dicom.reports import ReportPeer
from receiver.dicom.status import FailureReason

COMMITTED = 0
"""In place of a failure reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request whose peer was not told yet. Times are seconds since 1970."""

    number: int
    transaction_uid: str
    peer: ReportPeer
    requested_at: float
    resolved: bool
    attempts: int
    next_attempt_at: float
    is_held_by_another: bool


class Requests:
    """All processes' requests, as one of them, `holder`, works on them. Every method raises DatabaseError."""

    def __init__(self, database: Database, *, holder: str, keep_seconds: float, clock: Callable[[], float] = time.time) -> None:
        """`keep_seconds`: how long the transaction UID of a request that was answered is remembered."""
        self._database, self._holder, self._keep_seconds, self._clock = database, holder, keep_seconds, clock

    def add(self, request: CommitmentRequest, peer: ReportPeer, *, held_seconds: float) -> None:
        """Take a request; durable when this returns. A transaction UID that was used before makes all of it fail (0131)."""
        now = self._clock()
        with self._database.transaction() as sql:
            used = sql.execute("SELECT 1 FROM request WHERE transaction_uid = ?", (request.transaction_uid,)).fetchone()
            number = sql.execute(
                "INSERT INTO request"
                " (transaction_uid, calling_ae, called_ae, association, requested_at, resolved_at, holder, held_until)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(request.transaction_uid, peer.calling_ae, peer.called_ae, peer.association),
                    *(now, now if used else None, self._holder, now + held_seconds),
                ),
            ).lastrowid
            reason = FailureReason.DUPLICATE_TRANSACTION_UID if used else None
            sql.executemany(
                "INSERT INTO reference (request, position, sop_class, sop_instance, reason) VALUES (?, ?, ?, ?, ?)",
                [(number, at, one.sop_class, one.sop_instance, reason) for at, one in enumerate(request.references)],
            )

    def open(self) -> list[OpenRequest]:
        """Those whose peers were not told, the oldest first."""
        now = self._clock()
        return [
            OpenRequest(
                number=row["number"],
                transaction_uid=row["transaction_uid"],
                peer=ReportPeer(association=row["association"], calling_ae=row["calling_ae"], called_ae=row["called_ae"]),
                requested_at=row["requested_at"],
                resolved=row["resolved_at"] is not None,
                attempts=row["attempts"],
                next_attempt_at=row["next_attempt_at"],
                is_held_by_another=row["holder"] != self._holder and row["held_until"] > now,
            )
            for row in self._database.rows("SELECT * FROM request WHERE reported_at IS NULL ORDER BY number")
        ]

    def unresolved(self, number: int) -> list[tuple[int, Reference]]:
        """(position, reference) of what is not known yet."""
        rows = self._database.rows(
            "SELECT position, sop_class, sop_instance FROM reference WHERE request = ? AND reason IS NULL", (number,)
        )
        return [(row["position"], Reference(row["sop_class"], row["sop_instance"])) for row in rows]

    def resolve(self, number: int, reasons: Iterable[tuple[int, int]], *, all_of_it: bool) -> None:
        """Write (position, failure reason or COMMITTED); `all_of_it` when nothing else is open."""
        with self._database.transaction() as sql:
            sql.executemany(
                "UPDATE reference SET reason = ? WHERE request = ? AND position = ?",
                [(reason, number, position) for position, reason in reasons],
            )
            if all_of_it:
                sql.execute("UPDATE request SET resolved_at = ? WHERE number = ?", (self._clock(), number))

    def result(self, request: OpenRequest) -> CommitmentResult:
        """What to report of a resolved request."""
        rows = self._database.rows("SELECT * FROM reference WHERE request = ? ORDER BY position", (request.number,))
        named = [(Reference(row["sop_class"], row["sop_instance"]), row["reason"]) for row in rows]
        return CommitmentResult(
            request.transaction_uid,
            committed=tuple(one for one, reason in named if reason == COMMITTED),
            failed=tuple((one, FailureReason(reason)) for one, reason in named if reason != COMMITTED),
        )

    def hold(self, number: int, seconds: float) -> bool:
        """Keep other processes from reporting it; False when one of them does, or did."""
        now = self._clock()
        with self._database.transaction() as sql:
            return bool(
                sql.execute(
                    "UPDATE request SET holder = ?, held_until = ?"
                    " WHERE number = ? AND reported_at IS NULL AND (holder = ? OR held_until <= ?)",
                    (self._holder, now + seconds, number, self._holder, now),
                ).rowcount
            )

    def reported(self, number: int, status: int) -> None:
        """Its peer answered; the objects' UIDs are not needed any more."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE request SET reported_at = ?, status = ? WHERE number = ?", (self._clock(), status, number))
            sql.execute("DELETE FROM reference WHERE request = ?", (number,))

    def not_reported(self, number: int, *, again_in_seconds: float) -> None:
        """An attempt failed: let whoever comes first try again."""
        with self._database.transaction() as sql:
            sql.execute(
                "UPDATE request SET attempts = attempts + 1, next_attempt_at = ?, held_until = 0 WHERE number = ?",
                (self._clock() + again_in_seconds, number),
            )

    def let_go_of_all(self) -> None:
        """Nobody reports any of them: to be called by the one process of a spool, when it starts."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE request SET held_until = 0")

    def forget_old(self) -> None:
        """Delete those that are older than they have to be kept, told or not."""
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM request WHERE requested_at < ?", (self._clock() - self._keep_seconds,))
