"""Rows of `association`: registering one, its lease, its status.

The lease is the column `execution_arn`: the execution that may write the association's status. It changes hands only by
`take_lease`, from a holder that the caller has named. The status is RUNNING while that execution runs; then one of the
verdicts, which reconciling writes, or how the execution ended, which following it writes.

Whoever writes a status empties `told_at`; it is set once people were told of the end that stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contract.manifest import AssociationManifest, QuarantinedObject
from contract.message import InboundMessage
from lambdas.catalog.connection import Cursor
from lambdas.catalog.keys import object_hash, uid_column, uids_as_received

RUNNING = "RUNNING"
COMPLETE = "COMPLETE"
INCOMPLETE = "INCOMPLETE"
LEDGER_MISMATCH = "LEDGER_MISMATCH"
REBUILDING = "REBUILDING"
"""Its rows are being made again (`ahi-ingest rebuild`): nobody follows its execution, starts another, or is told."""

# sent_at_ms stays what it was first: rows that were ordered by it are not ordered anew by a message that was sent twice.
_REGISTER = """
INSERT INTO association
    (association, edge, `sequence`, sent_at_ms, bucket, calling_ae, called_ae, peer, started_at, ended_at, ending, objects,
     quarantined, parts, identical_repeats, size_bytes, status, registered_at, status_changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'REGISTERED', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
ON DUPLICATE KEY UPDATE
    calling_ae = VALUES(calling_ae), called_ae = VALUES(called_ae), peer = VALUES(peer), started_at = VALUES(started_at),
    ended_at = VALUES(ended_at), ending = VALUES(ending), objects = VALUES(objects), quarantined = VALUES(quarantined),
    parts = VALUES(parts), identical_repeats = VALUES(identical_repeats), size_bytes = VALUES(size_bytes)
"""

_QUARANTINED = """
INSERT INTO stored_object
    (object_hash, association, bucket, s3_key, size_bytes, sop_class_uid, sop_instance_uid, transfer_syntax_uid,
     uids_as_received, received_at, quarantine_reason)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE quarantine_reason = VALUES(quarantine_reason)
"""

_MEMBER = """
INSERT INTO association_member (member, association, position, started_at, ended_at, ending, objects)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    association = VALUES(association), position = VALUES(position), started_at = VALUES(started_at),
    ended_at = VALUES(ended_at), ending = VALUES(ending), objects = VALUES(objects)
"""

_HOLDER = "SELECT execution_arn FROM association WHERE association = %s"

_TAKE_LEASE = """
UPDATE association
SET redrive_count = IF(execution_arn = %(execution_arn)s, redrive_count, 0),
    execution_arn = %(execution_arn)s, status = 'RUNNING', error = NULL, status_changed_at = UTC_TIMESTAMP(3), told_at = NULL
WHERE association = %(association)s AND execution_arn <=> %(holder)s
"""

_VERDICT = """
UPDATE association
SET status = %(status)s, error = %(error)s, status_changed_at = UTC_TIMESTAMP(3), told_at = NULL
WHERE association = %(association)s AND execution_arn = %(execution_arn)s
"""

_HOLD = """
UPDATE association
SET status = 'REBUILDING', execution_arn = %(execution_arn)s, error = NULL, status_changed_at = UTC_TIMESTAMP(3),
    told_at = UTC_TIMESTAMP(3)
WHERE association = %(association)s AND status IN ('REGISTERED', 'RUNNING')
"""

# A verdict gives way to the run after it only; RUNNING, whose event may come late, to a run that is newer. What stands there
# already is not written again: people may have been told of it.
_FOLLOW = """
UPDATE association
SET status = %(status)s, error = %(error)s, redrive_count = %(redrive_count)s, status_changed_at = UTC_TIMESTAMP(3),
    told_at = NULL
WHERE association = %(association)s AND execution_arn = %(execution_arn)s
  AND (redrive_count < %(redrive_count)s
       OR (redrive_count = %(redrive_count)s AND status <> %(status)s AND %(status)s <> 'RUNNING'
           AND (status NOT IN ('COMPLETE', 'INCOMPLETE', 'LEDGER_MISMATCH')
                OR %(status)s IN ('COMPLETE', 'INCOMPLETE', 'LEDGER_MISMATCH'))))
"""

_NOTE_UNREGISTERED = """
INSERT INTO association
    (association, edge, `sequence`, sent_at_ms, bucket, ending, objects, quarantined, size_bytes, status, error, execution_arn,
     redrive_count, registered_at, status_changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
ON DUPLICATE KEY UPDATE association = VALUES(association)
"""

_UNTOLD = """
SELECT execution_arn, redrive_count, status, error
FROM association
WHERE association = %s AND execution_arn = %s AND told_at IS NULL AND status NOT IN ('REGISTERED', 'RUNNING')
"""

_TOLD = """
UPDATE association
SET told_at = UTC_TIMESTAMP(3)
WHERE association = %(association)s AND execution_arn = %(execution_arn)s AND redrive_count = %(redrive_count)s
  AND status = %(status)s
"""

_ORIGIN = "SELECT `sequence`, sent_at_ms, calling_ae FROM association WHERE association = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """The SQS message, and when SQS took it: the input of an execution of `ingest`.

    With `force`, objects that a later association has sent again are imported nevertheless.
    """

    message: InboundMessage
    sent_at_ms: int
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an association came from: what orders it among others, and the AE title that sent it."""

    sequence: int
    sent_at_ms: int
    calling_ae: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionState:
    """How an execution is, in the words of `association.status`. `error` is the name that it failed by."""

    execution_arn: str
    redrive_count: int
    status: str
    error: str | None


def register(cursor: Cursor, announcement: Announcement, manifest: AssociationManifest) -> None:
    """Write the association's row, without a lease, and those of its members and its quarantined objects."""
    message = announcement.message
    cursor.execute(
        _REGISTER,
        (
            manifest.association,
            manifest.edge,
            manifest.sequence,
            announcement.sent_at_ms,
            message.bucket,
            manifest.calling_ae,
            manifest.called_ae,
            manifest.peer,
            manifest.started_at,
            manifest.ended_at,
            manifest.ending,
            manifest.objects,
            len(manifest.quarantined),
            len(manifest.parts),
            manifest.identical_repeats,
            manifest.size_bytes,
        ),
    )
    rows = [_quarantined_row(manifest.association, message.bucket, held) for held in manifest.quarantined]
    cursor.execute_rows(_QUARANTINED, rows)
    members = [
        (one.association, manifest.association, position, one.started_at, one.ended_at, one.ending, one.objects)
        for position, one in enumerate(manifest.members, 1)
    ]
    cursor.execute_rows(_MEMBER, members)


def lease_holder(cursor: Cursor, association: str) -> str | None:
    """The execution that holds the lease, or None. The row must exist."""
    row = cursor.row(_HOLDER, (association,))
    return None if row is None else row["execution_arn"]


def take_lease(cursor: Cursor, association: str, execution_arn: str, holder: str | None) -> bool:
    """Take the lease from `holder` and set RUNNING; False when somebody else took it meanwhile."""
    cursor.execute(_TAKE_LEASE, {"association": association, "execution_arn": execution_arn, "holder": holder})
    return lease_holder(cursor, association) == execution_arn


def hold(cursor: Cursor, association: str, execution_arn: str) -> None:
    """Set REBUILDING, for the execution that held the lease last, where the row has no end yet."""
    cursor.execute(_HOLD, {"association": association, "execution_arn": execution_arn})


def set_verdict(cursor: Cursor, association: str, execution_arn: str, status: str, error: str | None) -> None:
    """Write COMPLETE, INCOMPLETE or LEDGER_MISMATCH, if the execution still holds the lease."""
    cursor.execute(_VERDICT, {"association": association, "execution_arn": execution_arn, "status": status, "error": error})


def follow(cursor: Cursor, association: str, state: ExecutionState) -> bool:
    """Write how the execution is, if it holds the lease and nothing newer or weightier stands there; whether it was written."""
    arguments = {
        "association": association,
        "execution_arn": state.execution_arn,
        "redrive_count": state.redrive_count,
        "status": state.status,
        "error": state.error,
    }
    return cursor.execute(_FOLLOW, arguments) == 1


def untold_end(cursor: Cursor, association: str, execution_arn: str) -> ExecutionState | None:
    """The end that the row says, if the execution holds the lease and nobody was told of that end."""
    row = cursor.row(_UNTOLD, (association, execution_arn))
    return None if row is None else ExecutionState(**row)


def note_told(cursor: Cursor, association: str, state: ExecutionState) -> None:
    """People were told of this end; nothing is noted where the row says another by now."""
    arguments = {
        "association": association,
        "execution_arn": state.execution_arn,
        "redrive_count": state.redrive_count,
        "status": state.status,
    }
    cursor.execute(_TOLD, arguments)


def note_unregistered(cursor: Cursor, announcement: Announcement, state: ExecutionState) -> None:
    """A row for an association whose execution ended before it was registered, so that operators see it."""
    message = announcement.message
    cursor.execute(
        _NOTE_UNREGISTERED,
        (
            message.association,
            message.edge,
            message.sequence,
            announcement.sent_at_ms,
            message.bucket,
            message.ending,
            message.objects,
            message.quarantined,
            message.size_bytes,
            state.status,
            state.error,
            state.execution_arn,
            state.redrive_count,
        ),
    )


def origin(cursor: Cursor, association: str) -> Origin | None:
    """Where an association came from, or None when the catalog does not know it."""
    row = cursor.row(_ORIGIN, (association,))
    return None if row is None else Origin(**row)


def _quarantined_row(association: str, bucket: str, held: QuarantinedObject) -> Sequence[object]:
    return (
        object_hash(bucket, held.key),
        association,
        bucket,
        held.key,
        held.size_bytes,
        uid_column(held.sop_class_uid),
        uid_column(held.sop_instance_uid),
        uid_column(held.transfer_syntax_uid),
        uids_as_received(held),
        held.received_at,
        held.reason,
    )
