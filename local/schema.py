"""Draws the catalog: `python -m local.schema` migrates an empty MariaDB and writes docs/schema.svg of what is there then.

There are no foreign keys, since indexing and importing write in any order. A line leads from a column to the table whose
whole primary key bears its name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from lambdas.catalog import Catalog, CatalogSettings, migrate
from lambdas.catalog.schema import Table, tables
from local.mariadb import DatabaseAddress, MariaDb
from local.processes import free_port

PICTURE = Path(__file__).parent.parent / "docs" / "schema.svg"

# From left to right; what is not named stands in the first column.
_COLUMNS = (
    ("import_job", "import_scope", "staged_copy", "association_member"),
    ("association", "image_set", "conflict", "change_log"),
    ("stored_object",),
    ("instance",),
    ("series",),
    ("study", "patient"),
)
_WIDTH, _ROW, _HEAD, _GAP, _PADDING = 256.0, 14.0, 24.0, 54.0, 18.0
_STYLE = """
text { font: 10px ui-monospace, monospace; fill: #1b2733 } .type { fill: #7b8a99; text-anchor: end }
.name { font: bold 12px ui-sans-serif, system-ui, sans-serif } .key { font-weight: bold }
rect { fill: #ffffff; stroke: #3f79b5 } rect.head { fill: #dcebfb }
path { fill: none; stroke: #8fa3b7; stroke-width: 1.2 }
"""


@dataclass(frozen=True)
class _Box:
    """A table at its place."""

    table: Table
    x: float
    y: float

    @property
    def height(self) -> float:
        return _HEAD + _ROW * len(self.table.columns) + 6

    def middle_of(self, column: str) -> float:
        """The height at which a column's line stands."""
        names = [one.name for one in self.table.columns]
        return self.y + _HEAD + _ROW * (names.index(column) + 0.5) + 2


def svg(catalog: Sequence[Table]) -> str:
    """The drawing, as a file."""
    boxes = {box.table.name: box for box in _placed(catalog)}
    width = max(box.x for box in boxes.values()) + _WIDTH + _GAP
    height = max(box.y + box.height for box in boxes.values()) + _PADDING
    body = [_line(boxes[start], column, boxes[end]) for start, column, end in references(catalog)]
    body += [_drawn(box) for box in boxes.values()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">\n<title>The tables of the catalog</title>\n<style>{_STYLE}</style>\n'
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<polygon points="0,0 8,4 0,8" fill="#8fa3b7"/></marker></defs>\n'
        f'<rect width="{width:.0f}" height="{height:.0f}" style="stroke: none"/>\n{"".join(body)}</svg>\n'
    )


def references(catalog: Sequence[Table]) -> Iterator[tuple[str, str, str]]:
    """(table, column, the table that it leads to)."""
    keys = {table.key[0]: table.name for table in catalog if len(table.key) == 1}
    for table in catalog:
        for column in table.columns:
            if keys.get(column.name, table.name) != table.name:
                yield table.name, column.name, keys[column.name]


def _placed(catalog: Sequence[Table]) -> Iterator[_Box]:
    named = {name for column in _COLUMNS for name in column}
    others = tuple(table.name for table in catalog if table.name not in named)
    by_name = {table.name: table for table in catalog}
    for index, names in enumerate((_COLUMNS[0] + others, *_COLUMNS[1:])):
        y = _PADDING
        for name in names:
            box = _Box(by_name[name], _PADDING + index * (_WIDTH + _GAP), y)
            y += box.height + _PADDING
            yield box


def _drawn(box: _Box) -> str:
    parts = [
        f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="5"/>',
        f'<rect class="head" x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEAD}" rx="5"/>',
        f'<text class="name" x="{box.x + 8}" y="{box.y + 16}">{escape(box.table.name)}</text>',
    ]
    for column in box.table.columns:
        y = box.middle_of(column.name) + 3.5
        style = ' class="key"' if column.name in box.table.key else ""
        parts.append(f'<text{style} x="{box.x + 8}" y="{y}">{escape(column.name)}</text>')
        parts.append(f'<text class="type" x="{box.x + _WIDTH - 8}" y="{y}">{escape(_short(column.type))}</text>')
    return "<g>" + "".join(parts) + "</g>\n"


def _short(column_type: str) -> str:
    """The type without the width of whole numbers, which says nothing and which MySQL 8.0 leaves out; any text as text."""
    name = column_type.partition("(")[0]
    return name if name.endswith("int") else "text" if name.endswith("text") else column_type


def _line(start: _Box, column: str, end: _Box) -> str:
    """A curve from the column to the key; between tables of one column it runs outside on the right."""
    y, end_y = start.middle_of(column), end.middle_of(end.table.key[0])
    if start.x == end.x:
        x = start.x + _WIDTH
        return f'<path d="M{x} {y} C{x + 40} {y} {x + 40} {end_y} {x} {end_y}" marker-end="url(#to)"/>\n'
    rightwards = end.x > start.x
    x, end_x = (start.x + _WIDTH, end.x) if rightwards else (start.x, end.x + _WIDTH)
    bend = _GAP if rightwards else -_GAP
    return f'<path d="M{x} {y} C{x + bend} {y} {end_x - bend} {end_y} {end_x} {end_y}" marker-end="url(#to)"/>\n'


def drawn(address: DatabaseAddress) -> str:
    """The drawing of the catalog in a database, which is migrated first."""
    settings = CatalogSettings(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        tls="off",
    )
    migrate(settings)
    catalog = Catalog(lambda: settings)
    try:
        return svg(catalog.transaction(tables))
    finally:
        catalog.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, MariaDb.start(Path(folder), free_port()) as server:
        PICTURE.write_text(drawn(server.address), encoding="utf-8")
