"""The lease of an association changes hands once, whoever asks at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdas.catalog import Catalog, associations
from tests.support.catalog import rows

if TYPE_CHECKING:
    from tests.support.associations import Placer


@pytest.fixture
def association(catalog: Catalog, placer: Placer) -> str:
    """A registered association without a lease."""
    placed = placer.place()
    catalog.transaction(lambda cursor: associations.register(cursor, placed.announcement, placed.manifest))
    return placed.association


def _take(catalog: Catalog, association: str, execution_arn: str, holder: str | None) -> bool:
    return catalog.transaction(lambda cursor: associations.take_lease(cursor, association, execution_arn, holder))


def test_a_lease_that_changed_hands_meanwhile_is_not_taken(catalog: Catalog, association: str) -> None:
    assert _take(catalog, association, "arn:first", None)
    assert not _take(catalog, association, "arn:second", None)
    assert _take(catalog, association, "arn:second", "arn:first")
    assert not _take(catalog, association, "arn:third", "arn:first")
    assert [row["execution_arn"] for row in rows(catalog, "association")] == ["arn:second"]


def test_a_holder_takes_its_own_lease_again_and_keeps_its_redrives(catalog: Catalog, association: str) -> None:
    _take(catalog, association, "arn:first", None)
    state = associations.ExecutionState(execution_arn="arn:first", redrive_count=3, status="FAILED", error="X")
    assert catalog.transaction(lambda cursor: associations.follow(cursor, association, state))
    assert _take(catalog, association, "arn:first", "arn:first")
    assert [(row["status"], row["redrive_count"], row["error"]) for row in rows(catalog, "association")] == [
        ("RUNNING", 3, None)
    ]
    assert _take(catalog, association, "arn:second", "arn:first")
    assert [row["redrive_count"] for row in rows(catalog, "association")] == [0]


def test_a_message_that_was_sent_again_does_not_change_when_the_association_came(
    catalog: Catalog, placer: Placer, association: str
) -> None:
    placed = placer.placed[0]
    again = associations.Announcement(message=placed.announcement.message, sent_at_ms=placed.sent_at_ms + 60_000)
    catalog.transaction(lambda cursor: associations.register(cursor, again, placed.manifest))
    assert [row["sent_at_ms"] for row in rows(catalog, "association")] == [placed.sent_at_ms]
