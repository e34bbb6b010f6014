"""The change log: what associations corrected. A row says that an association put another value where an older one's stood.

`old_value` is what the column showed before the association described the row, `new_value` what it last said. Differences
within one association are no corrections, an older association that comes late corrects nothing, and a repeat logs nothing
new. So the rows of one column, in the order of their associations, are a chain that ends in the value shown now.

For associations that are indexed one after the other in their order, the log follows from what they said alone. It depends on
the order of arrival in two cases, as any log of what was shown must: what comes late leaves no row; and of an association
that a later one overtook in the midst of its slices, the row has what it had said by then.

The upsert itself sets aside what it overwrites (`keep_replaced`), under the row's lock, so that nothing is locked before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from lambdas.catalog.attributes import KEYS, Level, columns
from lambdas.catalog.connection import Cursor, Row


def logged_columns(level: Level) -> tuple[str, ...]:
    """The columns whose corrections are logged."""
    return (*(["sop_class_uid"] if level is Level.INSTANCE else []), *columns(level), "raw_values")


def _as_json(level: Level) -> str:
    return "JSON_OBJECT(" + ", ".join(f"'{name}', `{name}`" for name in logged_columns(level)) + ")"


def keep_replaced(level: Level) -> str:
    """The assignment of an upsert, before all others, that keeps what another association's description is to replace."""
    return (
        "replaced_values = IF(VALUES(described_order) >= described_order AND NOT (described_by <=> VALUES(described_by)), "
        f"{_as_json(level)}, replaced_values)"
    )


def _taken_over(level: Level) -> str:
    return f"""
SELECT '{level}' AS level, {KEYS[level]} AS uid, described_by AS association, replaced_values, {_as_json(level)} AS shown
FROM {level}
WHERE {KEYS[level]} IN %s AND described_by IN %s AND replaced_values IS NOT NULL
"""  # noqa: S608 - of constants


_TAKEN_OVER = {level: _taken_over(level) for level in Level}

_LOGGED = "SELECT level, uid, column_name, association FROM change_log WHERE association IN %s AND uid IN %s"

_FORGET = "DELETE FROM change_log WHERE (level, uid, column_name, association) IN %s"

_LOG = """
INSERT INTO change_log (level, uid, column_name, association, old_value, new_value, changed_at)
VALUES (%s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3))
ON DUPLICATE KEY UPDATE
    changed_at = IF(new_value <=> VALUES(new_value), changed_at, VALUES(changed_at)), new_value = VALUES(new_value)
"""


def log_changes(cursor: Cursor, written: Mapping[Level, Collection[str]], associations: Collection[str]) -> None:
    """Log what these associations corrected in the rows that this transaction has written, by their keys."""
    levels = [level for level in Level if written.get(level)]
    if not levels:
        return
    arguments = [part for level in levels for part in (sorted(written[level]), sorted(associations))]
    found = cursor.rows(" UNION ALL ".join(_TAKEN_OVER[level] for level in levels), arguments)
    if not found:
        return
    changes = {key: values for row in found for key, values in _corrected(row)}
    logged = cursor.rows(_LOGGED, (sorted(associations), sorted({row["uid"] for row in found})))
    looked_at = {(row["level"], row["uid"], row["association"]) for row in found}
    forgotten = [key for row in logged if (key := tuple(row.values())) not in changes and (key[0], key[1], key[3]) in looked_at]
    if forgotten:  # by an object of the same association that says what had been there before
        cursor.execute(_FORGET, (sorted(forgotten),))
    cursor.execute_rows(_LOG, [(*key, *values) for key, values in sorted(changes.items())])


def _corrected(row: Row) -> Iterator[tuple[tuple[str, str, str, str], tuple[str | None, str | None]]]:
    replaced, shown = json.loads(row["replaced_values"]), json.loads(row["shown"])
    for name, new in shown.items():
        old = replaced.get(name)
        if old != new:
            yield (row["level"], row["uid"], name, row["association"]), (_text(old), _text(new))


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)
