"""Writes what indexing found: rows of the ledger, and of patient, study, series and instance.

Invariants, which make any order of slices, repeated and side by side, give the same rows:

- Attributes are those of the object with the highest `described_order`; `instance.object_hash` with them.
- The parent of a UID is the one that the object with the lowest order named: the first. Another that is named for the same
  UID is a conflict, and moves nothing; then every parent that was named is in `conflict`.
- The first object itself may name another parent when it is indexed again: by another default issuer, or since it is read
  better by now. That moves the UID, and is no conflict.
- An object without a PatientID names no patient: its study's stand-in for one gives way to the first PatientID, and is never
  a conflict. The stand-in's own row of `patient` stays, without studies.
- What is compared in Python was locked by an upsert of the same transaction before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from contract.manifest import Entry
from lambdas.catalog import changes
from lambdas.catalog.attributes import KEYS, Level, columns
from lambdas.catalog.connection import Cursor
from lambdas.catalog.keys import object_hash, uid_column, uids_as_received

ColumnValue = str | int | float | date | None


class LedgerObject(Protocol):
    """An object that the ledger has a row of; `object_order` is by the order rule (lambdas.logic.order)."""

    @property
    def association(self) -> str: ...
    @property
    def object_hash(self) -> str: ...
    @property
    def object_order(self) -> str: ...
    def row(self) -> tuple[object, ...]:
        """The values of LISTED_COLUMNS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object as its part's manifest lists it. `position` counts from 0; `object_order` is by the order rule."""

    association: str
    bucket: str
    part: int
    position: int
    entry: Entry
    object_order: str

    @property
    def object_hash(self) -> str:
        return object_hash(self.bucket, self.entry.key)

    def row(self) -> tuple[object, ...]:
        """The values of LISTED_COLUMNS."""
        entry = self.entry
        return (
            *(self.object_hash, self.association, self.part, self.position, self.bucket),
            *(entry.key, entry.size_bytes, entry.digest),
            *(uid_column(entry.sop_class_uid), uid_column(entry.sop_instance_uid)),
            *(uid_column(entry.study_instance_uid), uid_column(entry.series_instance_uid)),
            *(uid_column(entry.transfer_syntax_uid), uids_as_received(entry), entry.received_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelValues:
    """The attributes of one level: `values` by column; the other columns of that name; and what decides between objects."""

    values: Mapping[str, ColumnValue]
    described_order: str
    raw_values: str | None = None
    value_notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What an object's header says. UIDs are columns' values (lambdas.catalog.keys); parents may be absent.

    `effective_issuer` is the issuer that its PatientID counts within.
    """

    sop_instance_uid: str
    sop_class_uid: str | None
    series_instance_uid: str | None
    study_instance_uid: str | None
    patient_key: str | None
    has_patient_id: bool
    effective_issuer: str | None = None
    levels: Mapping[Level, LevelValues]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedObject:
    """The outcome for one object: either what it says, or why that could not be read."""

    listed: LedgerObject
    header_bytes: int
    outcome: Described | str


LISTED_COLUMNS = (
    "object_hash, association, part, position, bucket, s3_key, size_bytes, digest, sop_class_uid, sop_instance_uid, "
    "study_instance_uid, series_instance_uid, transfer_syntax_uid, uids_as_received, received_at"
)

_STORED_OBJECTS = f"""
INSERT INTO stored_object ({LISTED_COLUMNS}, object_order, not_indexed_reason, header_bytes, indexed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    object_order = VALUES(object_order), not_indexed_reason = VALUES(not_indexed_reason), header_bytes = VALUES(header_bytes),
    indexed_at = VALUES(indexed_at)
"""  # noqa: S608 - of constants

_NOW = "SELECT UTC_TIMESTAMP(3) AS now"

_PARENTS: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: (),
    Level.STUDY: ("patient_key",),
    Level.SERIES: ("study_instance_uid",),
    Level.INSTANCE: ("study_instance_uid", "series_instance_uid"),
}
_EXTRA: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: ("effective_issuer",),
    Level.STUDY: (),
    Level.SERIES: (),
    Level.INSTANCE: ("object_hash", "sop_class_uid"),
}


def _upsert(level: Level) -> str:
    """The upsert of a level's table. Its assignments run from left to right: the orders are compared before they change."""
    parents, described = _PARENTS[level], (*_EXTRA[level], *columns(level), "raw_values", "value_notes")
    ordered = (*parents, *(["parent_order"] if parents else []), "described_order", "described_by")
    names = ", ".join(f"`{name}`" for name in (KEYS[level], *ordered, *described))
    places = ", ".join(["%s"] * (1 + len(ordered) + len(described)))
    same_parent = " AND ".join(f"`{name}` <=> VALUES(`{name}`)" for name in parents)
    earliest = [f"parent_order = IF({same_parent}, LEAST(parent_order, VALUES(parent_order)), parent_order)"] if parents else []
    latest = [
        f"`{name}` = IF(VALUES(described_order) >= described_order, VALUES(`{name}`), `{name}`)"
        for name in (*described, "described_by")
    ]
    order = "described_order = GREATEST(described_order, VALUES(described_order))"
    updates = ",\n    ".join([*earliest, changes.keep_replaced(level), *latest, order])
    return f"INSERT INTO {level} ({names})\nVALUES ({places})\nON DUPLICATE KEY UPDATE\n    {updates}"


_UPSERTS = {level: _upsert(level) for level in Level}


def _parent_statements(level: Level) -> tuple[str, str]:
    """(reads the parents of some keys, sets the parent of one key)."""
    key, parents = KEYS[level], _PARENTS[level]
    read = f"SELECT {key}, {', '.join(parents)}, parent_order FROM {level} WHERE {key} IN %s"  # noqa: S608 - of constants
    assigned = ", ".join(f"{name} = %s" for name in (*parents, "parent_order"))
    return read, f"UPDATE {level} SET {assigned} WHERE {key} = %s"  # noqa: S608 - of constants


_PARENT_STATEMENTS = {level: _parent_statements(level) for level in (Level.INSTANCE, Level.SERIES, Level.STUDY)}

_CONFLICT = """
INSERT INTO conflict (level, uid, parent, noticed_at)
VALUES (%s, %s, %s, UTC_TIMESTAMP(3))
ON DUPLICATE KEY UPDATE level = VALUES(level)
"""

_IN_CONFLICT = "SELECT uid FROM conflict WHERE level = %s AND uid = %s LIMIT 1"

Parent = tuple[str | None, ...]

_STAND_IN = "~"  # before an order: sorts after every order without it, since those begin with a digit


def write_indexed(cursor: Cursor, objects: Sequence[IndexedObject]) -> None:
    """Upsert all rows of a slice, table by table in the catalog's lock order."""
    _write_ledger(cursor, objects)
    described = [(one.listed, one.outcome) for one in objects if isinstance(one.outcome, Described)]
    conflicts: list[tuple[str, str, str]] = []
    written: dict[Level, set[str]] = {}
    for level in (Level.INSTANCE, Level.SERIES, Level.STUDY, Level.PATIENT):
        claims = [claim for listed, outcome in described if (claim := _claim(level, listed, outcome)) is not None]
        cursor.execute_rows(_UPSERTS[level], [_row(level, group) for group in _grouped(claims)])
        if _PARENTS[level]:
            conflicts += _settle_parents(cursor, level, claims)
        written[level] = {claim.uid for claim in claims}
    for conflict in sorted(set(conflicts)):
        cursor.execute(_CONFLICT, conflict)
    changes.log_changes(cursor, written, {listed.association for listed, _ in described})


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one object says about one row: its parent, and its attributes."""

    association: str
    uid: str
    parent: Parent
    parent_order: str
    extra: tuple[str | None, ...]
    level_values: LevelValues


def _claim(level: Level, listed: LedgerObject, said: Described) -> _Claim | None:
    uid: str | None
    parent: Parent
    extra: tuple[str | None, ...] = ()
    parent_order = listed.object_order
    match level:
        case Level.PATIENT:
            uid, parent, extra = said.patient_key, (), (said.effective_issuer,)
        case Level.STUDY:
            uid, parent = said.study_instance_uid, (said.patient_key,)
            parent_order = parent_order if said.has_patient_id else _STAND_IN + parent_order
        case Level.SERIES:
            uid, parent = said.series_instance_uid, (said.study_instance_uid,)
        case Level.INSTANCE:
            uid, parent = said.sop_instance_uid, (said.study_instance_uid, said.series_instance_uid)
            extra = (listed.object_hash, said.sop_class_uid)
    return None if uid is None else _Claim(listed.association, uid, parent, parent_order, extra, said.levels[level])


def _grouped(claims: Iterable[_Claim]) -> Iterable[list[_Claim]]:
    groups: dict[str, list[_Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.uid, []).append(claim)
    return groups.values()


def _row(level: Level, claims: Sequence[_Claim]) -> tuple[object, ...]:
    """One row for all that a slice says about a UID."""
    first = min(claims, key=lambda claim: claim.parent_order)
    latest = max(claims, key=lambda claim: claim.level_values.described_order)
    parents = (*first.parent, first.parent_order) if _PARENTS[level] else ()
    said = latest.level_values
    attributes = (said.values.get(name) for name in columns(level))
    return (
        first.uid,
        *parents,
        said.described_order,
        latest.association,
        *latest.extra,
        *attributes,
        said.raw_values,
        said.value_notes,
    )


def _settle_parents(cursor: Cursor, level: Level, claims: Sequence[_Claim]) -> list[tuple[str, str, str]]:
    """Let the first claim to each UID stand; the rows for `conflict`, of UIDs for which the claims differ."""
    if not claims:
        return []
    read, set_parent = _PARENT_STATEMENTS[level]
    holders: dict[str, tuple[Parent, str]] = {}
    for row in cursor.rows(read, (sorted({claim.uid for claim in claims}),)):
        holders[row[KEYS[level]]] = (tuple(row[name] for name in _PARENTS[level]), row["parent_order"])
    conflicts = []
    for claim in claims:
        parent, parent_order = holders[claim.uid]
        if claim.parent == parent:
            continue
        again = claim.parent_order == parent_order and not cursor.rows(_IN_CONFLICT, (str(level), claim.uid))
        if not (again or parent_order.startswith(_STAND_IN) or claim.parent_order.startswith(_STAND_IN)):
            conflicts += [(str(level), claim.uid, _parent_text(one)) for one in (parent, claim.parent)]
        if claim.parent_order <= parent_order:
            cursor.execute(set_parent, (*claim.parent, claim.parent_order, claim.uid))
            holders[claim.uid] = (claim.parent, claim.parent_order)
    return conflicts


def _parent_text(parent: Parent) -> str:
    return "/".join(uid or "_" for uid in parent)


def _write_ledger(cursor: Cursor, objects: Sequence[IndexedObject]) -> None:
    moment = cursor.rows(_NOW)[0]["now"]
    rows = [
        (
            *one.listed.row(),
            one.listed.object_order,
            one.outcome if isinstance(one.outcome, str) else None,
            one.header_bytes,
            moment,
        )
        for one in objects
    ]
    cursor.execute_rows(_STORED_OBJECTS, rows)
