"""What the ledger says of single objects, for the edge that sent them."""

from __future__ import annotations

from collections.abc import Sequence

from contract.commitment import ImportResult, ImportStatus, SentObject
from lambdas.catalog.connection import Cursor
from lambdas.catalog.keys import uid_column

_PENDING = ImportResult(status=ImportStatus.PENDING, reason=None)
_SUPERSEDED = "SUPERSEDED"

_ROWS = """
SELECT association, sop_class_uid, sop_instance_uid, import_status, import_error
FROM stored_object
WHERE association IN ({associations}) AND sop_instance_uid IN ({instances})
  AND quarantine_reason IS NULL AND is_foreign = 0
  AND association IN (SELECT association FROM association WHERE edge = %s)
ORDER BY part, position
"""


def import_results(cursor: Cursor, edge: str, objects: Sequence[SentObject]) -> list[ImportResult]:
    """One result an object, in their order. What another edge has sent is PENDING, as what nobody has.

    Where an association holds a SOP instance several times, with different content, the last counts: HealthImaging has that.
    """
    if not objects:
        return []
    associations = sorted({one.association for one in objects})
    instances = sorted({name for one in objects if (name := uid_column(one.sop_instance_uid))})
    sql = _ROWS.format(associations=_places(associations), instances=_places(instances))
    rows = cursor.rows(sql, (*associations, *instances, edge)) if instances else []
    found = {
        (row["association"], row["sop_class_uid"], row["sop_instance_uid"]): _result(row["import_status"], row["import_error"])
        for row in rows
    }
    return [
        found.get((one.association, uid_column(one.sop_class_uid), uid_column(one.sop_instance_uid)), _PENDING)
        for one in objects
    ]


def _places(values: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(values))


def _result(import_status: str | None, import_error: str | None) -> ImportResult:
    if import_status == "IMPORTED":
        return ImportResult(status=ImportStatus.IMPORTED, reason=None)
    if import_status in ("FAILED", _SUPERSEDED):
        return ImportResult(status=ImportStatus.FAILED, reason=_SUPERSEDED if import_status == _SUPERSEDED else import_error)
    return _PENDING
