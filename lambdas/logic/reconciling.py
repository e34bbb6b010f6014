"""The verdict over an association: its ledger's rows against what its manifest listed."""

from __future__ import annotations

from lambdas.catalog import Catalog, associations, ledger
from lambdas.catalog.associations import COMPLETE, INCOMPLETE, LEDGER_MISMATCH
from lambdas.catalog.connection import Cursor
from lambdas.catalog.ledger import LedgerCounts
from lambdas.errors import IncompleteError, IngestError, LedgerMismatchError, UnknownAssociationError


def reconcile(catalog: Catalog, *, association: str, execution_arn: str) -> LedgerCounts:
    """Record the verdict and return the sums of an association that is complete.

    Raises LedgerMismatchError, else IncompleteError, both after they were recorded; UnknownAssociationError, and Catalog's.
    """

    def work(cursor: Cursor) -> tuple[LedgerCounts, IngestError | None]:
        counts = ledger.counts(cursor, association)
        if counts is None:
            raise UnknownAssociationError(f"{association} is not in the catalog: register it first")
        status, error = verdict(association, counts)
        name = type(error).__name__ if error else None
        associations.set_verdict(cursor, association, execution_arn, status, name)
        return counts, error

    counts, error = catalog.transaction(work)
    if error is not None:
        raise error
    return counts


def seconds_to_image_sets(catalog: Catalog, association: str) -> float | None:
    """How long an association that is complete now took from its last object; None when it has none. Raises as Catalog."""
    return catalog.transaction(lambda cursor: ledger.seconds_since_last_received(cursor, association))


def verdict(association: str, counts: LedgerCounts) -> tuple[str, IngestError | None]:
    """The status to record, and the error to fail by, with its sums."""
    if not counts.balanced or counts.not_looked_at:
        sums = {
            "without a row": counts.without_row,
            "without a result": counts.without_result,
            "not looked at": counts.not_looked_at,
            "foreign": counts.foreign,
        }
        return LEDGER_MISMATCH, LedgerMismatchError(_text(association, counts, sums))
    if counts.failed or counts.quarantined or counts.not_indexed:
        sums = {"failed": counts.failed, "quarantined": counts.quarantined, "not indexed": counts.not_indexed}
        return INCOMPLETE, IncompleteError(_text(association, counts, sums))
    return COMPLETE, None


def _text(association: str, counts: LedgerCounts, sums: dict[str, int]) -> str:
    said = ", ".join(f"{number} {what}" for what, number in sums.items() if number)
    listed = counts.objects + counts.quarantined
    return f"{association}: of {listed} objects {said}; the catalog's stored_object says which and why"
