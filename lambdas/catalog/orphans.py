"""Rows of `orphan`: what the sweep found astray, and whether that is settled; and what it compares S3 and executions with."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from lambdas.catalog.associations import ExecutionState
from lambdas.catalog.connection import Cursor


class Kind(enum.StrEnum):
    """What can be astray. The first is an operator's to look at; the sweep puts the others right where it can."""

    PREFIX_WITHOUT_MANIFEST = "PREFIX_WITHOUT_MANIFEST"
    MANIFEST_WITHOUT_EXECUTION = "MANIFEST_WITHOUT_EXECUTION"
    EVENT_LOST = "EVENT_LOST"
    EXECUTION_VANISHED = "EXECUTION_VANISHED"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One finding. `since` is UTC, from when on it was astray; `detail` has ids, counts and error names only."""

    kind: Kind
    association: str
    edge: str
    detail: str
    since: datetime
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOrphan:
    """A row, as people are shown it. Times are UTC."""

    kind: str
    association: str
    edge: str
    detail: str
    since: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAssociation:
    """An association that may have an execution which runs."""

    association: str
    edge: str
    bucket: str
    sent_at_ms: int
    execution_arn: str | None
    status_changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UntoldAssociation:
    """An association whose row says an end that nobody was told of."""

    association: str
    edge: str
    end: ExecutionState


_FOUND = """
INSERT INTO orphan (kind, association, edge, detail, since, first_seen_at, last_seen_at, settled_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    detail = VALUES(detail), since = VALUES(since), last_seen_at = VALUES(last_seen_at), settled_at = VALUES(settled_at),
    first_seen_at = first_seen_at
"""

_LISTED = """
SELECT kind, association, edge, detail, since, first_seen_at, last_seen_at, settled_at
FROM orphan
WHERE settled_at IS NULL OR %s
ORDER BY last_seen_at DESC, association, kind
"""

_SETTLE = "UPDATE orphan SET settled_at = %(now)s WHERE settled_at IS NULL AND last_seen_at < %(now)s"

_KNOWN = "SELECT association FROM association WHERE edge = %s AND association >= %s"

_COLUMNS = "SELECT association, edge, bucket, sent_at_ms, execution_arn, status_changed_at FROM association"
_OPEN = f"{_COLUMNS} WHERE status IN ('REGISTERED', 'RUNNING') AND status_changed_at < %s ORDER BY association"
_ENDED_BUT_HELD = f"""{_COLUMNS}
WHERE status NOT IN ('REGISTERED', 'RUNNING', 'COMPLETE') AND execution_arn IN %s
ORDER BY association
"""

_UNTOLD = """
SELECT association, edge, execution_arn, redrive_count, status, error
FROM association
WHERE told_at IS NULL AND status NOT IN ('REGISTERED', 'RUNNING') AND execution_arn IS NOT NULL
ORDER BY association
"""


def note(cursor: Cursor, found: Sequence[Orphan], now: datetime) -> None:
    """Write what was found."""
    rows = [
        (str(one.kind), one.association, one.edge, one.detail[:256], one.since, now, now, now if one.settled else None)
        for one in found
    ]
    cursor.execute_rows(_FOUND, rows)


def record(cursor: Cursor, found: Sequence[Orphan], now: datetime) -> None:
    """Write what a sweep found; what it did not find any more is settled."""
    note(cursor, found, now)
    cursor.execute(_SETTLE, {"now": now})


def known(cursor: Cursor, edge: str, first: str) -> set[str]:
    """The associations of an edge that have a row, from the id `first` on."""
    return {row["association"] for row in cursor.rows(_KNOWN, (edge, first))}


def open_since(cursor: Cursor, before: datetime) -> list[OpenAssociation]:
    """The associations that have been open since before then (UTC)."""
    return [OpenAssociation(**row) for row in cursor.rows(_OPEN, (before,))]


def ended_but_held_by(cursor: Cursor, execution_arns: Collection[str]) -> list[OpenAssociation]:
    """The associations whose row says that they ended badly, though one of these executions holds their lease."""
    return [OpenAssociation(**row) for row in cursor.rows(_ENDED_BUT_HELD, (list(execution_arns),))] if execution_arns else []


def untold(cursor: Cursor) -> list[UntoldAssociation]:
    """The associations that have ended, some of them just now, without anybody being told."""
    return [
        UntoldAssociation(association=row.pop("association"), edge=row.pop("edge"), end=ExecutionState(**row))
        for row in cursor.rows(_UNTOLD)
    ]


def listed(cursor: Cursor, *, settled: bool) -> list[ListedOrphan]:
    """What is astray, latest first; with `settled`, also what was."""
    return [ListedOrphan(**row) for row in cursor.rows(_LISTED, (settled,))]
