"""Rows of `import_scope` and `staged_copy`: which objects of its part an attempt imports, and from where.

Nearly every attempt imports its whole part, from the prefix that the receiver wrote. Any other imports copies of some of
the part's objects, below a prefix of its own, and `staged_copy` says of which. Both are written by the transaction that
opens the attempt, so an attempt that exists has them all.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from lambdas.catalog.associations import Origin
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import AttemptKey


class Reason(enum.StrEnum):
    """Why an attempt imports the objects that it does."""

    WHOLE = "WHOLE"
    """All of the part."""
    SUPERSEDED = "SUPERSEDED"
    """All but those that a later association has sent again with other content."""
    FORCED = "FORCED"
    """Those too, since an operator said so."""
    SERVICE_FAULT = "SERVICE_FAULT"
    """Those that failed by HealthImaging's own fault."""
    FAILED_ONLY = "FAILED_ONLY"
    """Those that are not imported, since an operator said so."""


class Instance(NamedTuple):
    """What HealthImaging takes for the same: an instance of a series of a study, as columns' values.

    Of another study or series an equal SOP Instance UID is another instance, perhaps of another patient: it replaces nothing.
    """

    sop_instance_uid: str | None
    study_instance_uid: str | None
    series_instance_uid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedCopy:
    """The copy of one object of the part; `position` is the object's in the part's manifest."""

    position: int
    s3_key: str
    copy_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`copies` is empty when the part's own prefix is imported. `left_out`: see the table's definition."""

    reason: Reason
    objects: int
    left_out: int = 0
    copies: Sequence[StagedCopy] = ()


_WRITE = """
INSERT INTO import_scope (association, part, attempt, reason, objects, left_out)
VALUES (%s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE reason = VALUES(reason), objects = VALUES(objects), left_out = VALUES(left_out)
"""

_WRITE_COPIES = """
INSERT INTO staged_copy (association, part, attempt, position, s3_key, copy_key)
VALUES (%s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE association = VALUES(association)
"""

_REASONS = "SELECT reason FROM import_scope WHERE association = %s AND part = %s ORDER BY attempt DESC"

_COPIES = """
SELECT position, s3_key, copy_key
FROM staged_copy
WHERE association = %s AND part = %s AND attempt = %s
ORDER BY position
"""

_POSITIONS = """
SELECT position
FROM stored_object
WHERE association = %(association)s AND part = %(part)s AND is_foreign = 0 AND import_status = %(status)s
  AND (%(fault)s IS NULL OR import_fault = %(fault)s)
ORDER BY position
"""

_NOT_IMPORTED = """
SELECT position
FROM stored_object
WHERE association = %s AND part = %s AND is_foreign = 0 AND quarantine_reason IS NULL
  AND (import_status IS NULL OR import_status = 'FAILED')
ORDER BY position
"""

# Of the later objects the last one counts (the order rule, lambdas.logic.order): if that has the same content again, then
# nothing is undone. What HealthImaging has refused does not count, nor does a later part until it is imported: parts of one
# association are imported in their order anyway.
_LATER = """
SELECT later.sop_instance_uid, later.study_instance_uid, later.series_instance_uid, later.digest, later.association
FROM stored_object AS later
JOIN association ON association.association = later.association
WHERE later.sop_instance_uid IN %(sop_instance_uids)s
  AND later.quarantine_reason IS NULL AND later.is_foreign = 0 AND NOT (later.import_status <=> 'FAILED')
  AND ((association.sent_at_ms, association.`sequence`, association.association)
           > (%(sent_at_ms)s, %(sequence)s, %(association)s)
       OR (later.association = %(association)s AND later.part > %(part)s AND later.import_status = 'IMPORTED'))
ORDER BY association.sent_at_ms, association.`sequence`, association.association, later.part, later.position
"""


def write(cursor: Cursor, key: AttemptKey, scope: Scope) -> None:
    cursor.execute(_WRITE, (key.association, key.part, key.attempt, str(scope.reason), scope.objects, scope.left_out))
    copies = [(key.association, key.part, key.attempt, one.position, one.s3_key, one.copy_key) for one in scope.copies]
    cursor.execute_rows(_WRITE_COPIES, copies)


def reasons(cursor: Cursor, association: str, part: int) -> list[Reason]:
    """Why each attempt of a part was made, newest first. Those from before this table are missing."""
    return [Reason(row["reason"]) for row in cursor.rows(_REASONS, (association, part))]


def copies(cursor: Cursor, key: AttemptKey) -> list[StagedCopy]:
    """What the attempt imports, in the manifest's order; empty when it imports its part's own prefix."""
    return [StagedCopy(**row) for row in cursor.rows(_COPIES, (key.association, key.part, key.attempt))]


def positions(cursor: Cursor, association: str, part: int, status: str, fault: str | None = None) -> list[int]:
    """The objects of a part with this import status (and fault), as positions in its manifest."""
    arguments = {"association": association, "part": part, "status": status, "fault": fault}
    return [row["position"] for row in cursor.rows(_POSITIONS, arguments)]


def not_imported(cursor: Cursor, association: str, part: int) -> list[int]:
    """The objects of a part that failed, or of which HealthImaging has said nothing."""
    return [row["position"] for row in cursor.rows(_NOT_IMPORTED, (association, part))]


def sent_again(
    cursor: Cursor, association: str, part: int, origin: Origin, contents: Set[tuple[Instance, str]]
) -> dict[tuple[Instance, str], str]:
    """Of these contents, (instance, digest), those that are superseded, each with the association that did it."""
    uids = sorted({instance.sop_instance_uid for instance, _ in contents if instance.sop_instance_uid})
    if not uids:
        return {}
    arguments = {
        "sop_instance_uids": uids,
        "sent_at_ms": origin.sent_at_ms,
        "sequence": origin.sequence,
        "association": association,
        "part": part,
    }
    last = {Instance(*(row[name] for name in Instance._fields)): row for row in cursor.rows(_LATER, arguments)}
    return {
        (instance, digest): last[instance]["association"]
        for instance, digest in contents
        if instance in last and digest != last[instance]["digest"]
    }
