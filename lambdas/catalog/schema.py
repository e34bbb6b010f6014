"""The catalog's tables as the database has them, for who draws or checks them."""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.catalog.connection import Cursor


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` as MySQL writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its columns in order, and those of its primary key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


_COLUMNS = """
SELECT columns.table_name AS table_name, columns.column_name AS column_name, columns.column_type AS column_type,
       columns.column_key AS column_key
FROM information_schema.columns AS columns
JOIN information_schema.tables AS tables
  ON tables.table_schema = columns.table_schema AND tables.table_name = columns.table_name
WHERE columns.table_schema = DATABASE() AND tables.table_type = 'BASE TABLE' AND columns.table_name NOT LIKE %s
ORDER BY columns.table_name, columns.ordinal_position
"""

_OF_YOYO = "%yoyo%"  # the tables in which migrations are marked


def tables(cursor: Cursor) -> list[Table]:
    """All tables but those of the migrations themselves, by name."""
    rows = cursor.rows(_COLUMNS, (_OF_YOYO,))
    return [
        Table(
            name,
            tuple(Column(row["column_name"], row["column_type"]) for row in rows if row["table_name"] == name),
            tuple(row["column_name"] for row in rows if row["table_name"] == name and row["column_key"] == "PRI"),
        )
        for name in dict.fromkeys(row["table_name"] for row in rows)
    ]
