"""docs/schema.svg: the picture is the one of the database, and has every table, column and way."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lambdas.catalog.schema import tables
from local.schema import PICTURE, drawn, references, svg

if TYPE_CHECKING:
    from lambdas.catalog import Catalog
    from local.mariadb import DatabaseAddress

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_the_one_of_the_database(catalog_database: DatabaseAddress) -> None:
    assert PICTURE.read_text(encoding="utf-8") == drawn(catalog_database), "run python -m local.schema"


def test_the_picture_has_every_table_and_column_and_the_ways_between_them(catalog: Catalog) -> None:
    found = catalog.transaction(tables)
    root = ET.fromstring(svg(found))  # noqa: S314 - our own
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert len(texts) == sum(1 + 2 * len(table.columns) for table in found)
    assert {table.name for table in found} <= set(texts)
    ways = list(references(found))
    assert len(list(root.iter(f"{SVG}path"))) == len(ways)
    assert {
        ("instance", "object_hash", "stored_object"),
        ("study", "patient_key", "patient"),
        ("stored_object", "association", "association"),
        ("series", "study_instance_uid", "study"),
    } <= set(ways)
