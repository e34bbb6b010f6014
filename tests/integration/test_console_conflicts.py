"""`ahi-ingest conflicts`, as operators see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from ahi_ingest import app
from lambdas.catalog.objects import write_indexed
from tests.support.indexed import made_object

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog, CatalogSettings


def _conflicts(settings: CatalogSettings, state: Path) -> Result:
    mysql = {name: getattr(settings, name) for name in ("host", "port", "user", "password", "database")}
    (state / "endpoints.json").write_text(json.dumps({"mysql": mysql}))
    return CliRunner().invoke(app, ["conflicts", "--state", str(state)], env={"COLUMNS": "200"})


def test_each_parent_of_a_uid_is_a_line_and_the_first_stands(
    catalog: Catalog, migrated_settings: CatalogSettings, tmp_path: Path
) -> None:
    first = made_object(1, order="1", series="3.1", study="2.1", patient="a")
    second = made_object(1, order="2", series="3.2", study="2.1", patient="b")
    third = made_object(2, order="3", series="3.1", study="2.2", patient="a")
    for one in (first, second, third):
        catalog.transaction(lambda cursor, one=one: write_indexed(cursor, [one]))  # type: ignore[misc]
    result = _conflicts(migrated_settings, tmp_path)
    lines = [line.split() for line in result.stdout.splitlines() if line.strip().startswith(("study", "series", "instance"))]
    assert [line[:2] for line in lines] == [["study", "2.1"]] * 2 + [["series", "3.1"]] * 2 + [["instance", "4.1"]] * 2
    assert [("yes" in line) for line in lines] == [True, False] * 3
    assert [line[2] for line in lines[2:]] == ["2.1", "2.2", "2.1/3.1", "2.1/3.2"]
    assert result.exit_code == 1


def test_without_conflicts_it_says_so(catalog: Catalog, migrated_settings: CatalogSettings, tmp_path: Path) -> None:
    result = _conflicts(migrated_settings, tmp_path)
    assert (result.exit_code, result.stdout) == (0, "No conflicts.\n")
