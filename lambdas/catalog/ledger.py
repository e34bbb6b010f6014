"""The ledger's sums: what the rows of an association say, beside what its manifest listed."""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.catalog.connection import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """`objects` and `quarantined` are the manifest's; the rest counts rows of `stored_object`.

    Every row is either an object to import (`object_rows`; the six that follow count among these), quarantined, or foreign:
    found below the import prefix by HealthImaging, and not in the manifest.
    """

    objects: int
    quarantined: int
    object_rows: int
    indexed: int
    not_indexed: int
    imported: int
    warned: int
    failed: int
    superseded: int
    quarantined_rows: int
    foreign: int

    @property
    def without_row(self) -> int:
        """Objects that the manifest lists and the ledger lacks."""
        return self.objects + self.quarantined - self.object_rows - self.quarantined_rows

    @property
    def without_result(self) -> int:
        """Objects that HealthImaging has said nothing about, yet or ever."""
        return self.objects - self.imported - self.failed - self.superseded

    @property
    def not_looked_at(self) -> int:
        """Objects that indexing has neither recorded nor given a reason for."""
        return self.objects - self.indexed - self.not_indexed

    @property
    def balanced(self) -> bool:
        """manifest = imported + failed + superseded + quarantined, and nothing is foreign."""
        return (
            self.object_rows == self.objects
            and self.quarantined_rows == self.quarantined
            and self.without_result == 0
            and self.foreign == 0
        )


_COUNTS = """
SELECT
    association.objects,
    association.quarantined,
    SUM(kind = 'object') AS object_rows,
    SUM(kind = 'object' AND indexed_at IS NOT NULL AND not_indexed_reason IS NULL) AS indexed,
    SUM(kind = 'object' AND not_indexed_reason IS NOT NULL) AS not_indexed,
    SUM(kind = 'object' AND import_status = 'IMPORTED') AS imported,
    SUM(kind = 'object' AND import_status = 'IMPORTED' AND import_warnings IS NOT NULL) AS warned,
    SUM(kind = 'object' AND import_status = 'FAILED') AS failed,
    SUM(kind = 'object' AND import_status = 'SUPERSEDED') AS superseded,
    SUM(kind = 'quarantined') AS quarantined_rows,
    SUM(kind = 'foreign') AS `foreign`
FROM association
LEFT JOIN (
    SELECT
        association,
        CASE WHEN is_foreign = 1 THEN 'foreign' WHEN quarantine_reason IS NULL THEN 'object' ELSE 'quarantined' END AS kind,
        indexed_at, not_indexed_reason, import_status, import_warnings
    FROM stored_object
    WHERE association = %(association)s
) AS ledger ON ledger.association = association.association
WHERE association.association = %(association)s
GROUP BY association.association, association.objects, association.quarantined
"""


def counts(cursor: Cursor, association: str) -> LedgerCounts | None:
    """The sums of one association, or None when the catalog does not know it."""
    row = cursor.row(_COUNTS, {"association": association})
    return None if row is None else LedgerCounts(**{name: int(value or 0) for name, value in row.items()})


def seconds_since_last_received(cursor: Cursor, association: str) -> float | None:
    """The time since the association's last object was received, by the edge's clock then and the catalog's now.

    None for an association without objects. Not below 0, where the edge's clock is ahead.
    """
    row = cursor.row(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(received_at), UTC_TIMESTAMP(6)) / 1000000 AS seconds"
        " FROM stored_object WHERE association = %s",
        (association,),
    )
    return None if row is None or row["seconds"] is None else max(0.0, float(row["seconds"]))
