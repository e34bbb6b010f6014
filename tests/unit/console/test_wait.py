"""`ahi-ingest wait`: what it waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from console.cli import wait_for_end

if TYPE_CHECKING:
    from lambdas.catalog.queries import Queries


@pytest.mark.parametrize("end", ["COMPLETE", "INCOMPLETE", "LEDGER_MISMATCH", "FAILED", "TIMED_OUT", "ABORTED"])
def test_an_association_is_waited_for_from_before_its_row_to_its_end(end: str) -> None:
    rows = iter([None, *(SimpleNamespace(status=status) for status in ("REGISTERED", "RUNNING", end))])
    catalog = cast("Queries", SimpleNamespace(association=lambda _: next(rows)))
    row = wait_for_end(catalog, "any", 60, sleep=lambda _: None, now=lambda: 0.0)
    assert row is not None
    assert row.status == end
