"""Ledgers made to measure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambdas.catalog.ledger import LedgerCounts

_COMPLETE = LedgerCounts(
    objects=10,
    quarantined=0,
    object_rows=10,
    indexed=10,
    not_indexed=0,
    imported=10,
    warned=0,
    failed=0,
    superseded=0,
    quarantined_rows=0,
    foreign=0,
)


def counts(**changes: Any) -> LedgerCounts:
    """The ledger of ten objects that were all indexed and imported, but for the changes; what failed is not imported."""
    changed = replace(_COMPLETE, **changes)
    return replace(changed, imported=changed.imported - changed.failed)
