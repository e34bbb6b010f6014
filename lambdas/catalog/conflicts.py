"""The view `conflict_list`: UIDs that were sent under different parents, and which parent stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lambdas.catalog.connection import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedConflict:
    """One parent that was named for a UID. `parent` is a study's patient_key, a series' study, an instance's study/series.

    `patient_id` and `effective_issuer` are of the patient, for a study. `noticed_at` is UTC.
    """

    level: str
    uid: str
    parent: str
    patient_id: str | None
    effective_issuer: str | None
    stands: bool
    noticed_at: datetime


_LISTED = """
SELECT level, uid, parent, patient_id, effective_issuer, stands, noticed_at
FROM conflict_list
ORDER BY FIELD(level, 'study', 'series', 'instance'), uid, stands DESC, noticed_at, parent
LIMIT %s
"""


def listed(cursor: Cursor, limit: int) -> Sequence[ListedConflict]:
    """Studies first, the parent that stands first of each."""
    return [ListedConflict(**row | {"stands": bool(row["stands"])}) for row in cursor.rows(_LISTED, (limit,))]
