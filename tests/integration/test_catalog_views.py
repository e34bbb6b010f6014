"""The views that people ask: every statement of docs/catalog.md runs, and the lines say what happened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from console import render
from lambdas import errors
from lambdas.catalog.objects import write_indexed
from lambdas.catalog.queries import Queries
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.indexed import made_object
from tests.support.lambdas import Run

if TYPE_CHECKING:
    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")

PAGE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sql\n(.*?);\n```", PAGE, re.DOTALL)


def _run(aws: Aws, placer: Placer, folder: Path) -> Run:
    return Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(folder, 2)]))


def test_a_complete_study_is_in_no_list_of_incomplete_ones_and_its_image_set_is_under_its_series(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    _run(aws, placer, tmp_path).all()
    assert rows(catalog, "incomplete_studies") == []
    [series] = rows(catalog, "series")
    [line] = rows(catalog, "image_sets_by_series")
    assert (line["series_instance_uid"], line["study_instance_uid"]) == (
        series["series_instance_uid"],
        series["study_instance_uid"],
    )
    assert (line["modality"], line["instance_count"], line["image_sets_of_series"]) == ("CT", 2, 1)


def test_a_study_of_which_an_object_was_refused_is_incomplete_by_that_object(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = _run(aws, placer, tmp_path)
    outputs = run.imported()
    outputs.fail(outputs.success.pop()["inputFile"])
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    [line] = rows(catalog, "incomplete_studies")
    assert (line["status"], line["instance_count"], line["not_imported_count"]) == ("INCOMPLETE", 2, 1)
    assert [one["instance_count"] for one in rows(catalog, "image_sets_by_series")] == [1]


def test_the_documentation_has_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("statement", EXAMPLES)
def test_every_example_of_the_documentation_runs(catalog: Catalog, statement: str) -> None:
    catalog.transaction(lambda cursor: cursor.rows(statement))


def test_what_a_later_association_left_out_is_found_by_the_documentations_statement(catalog: Catalog) -> None:
    [emptied] = [one for one in EXAMPLES if "new_value IS NULL" in one]
    for order, association, text in (("1", "A", "was there"), ("2", "B", None), ("3", "C", "is there again")):
        one = made_object(1, order=order, association=association, text=text)
        catalog.transaction(lambda cursor, one=one: write_indexed(cursor, [one]))  # type: ignore[misc]
    found = catalog.transaction(lambda cursor: cursor.rows(emptied))
    assert {(row["level"], row["column_name"], row["old_value"], row["association"]) for row in found} == {
        ("patient", "patient_name", "was there", "B"),
        ("study", "study_description", "was there", "B"),
        ("series", "series_description", "was there", "B"),
    }


def test_a_study_whose_association_is_being_rebuilt_runs_and_one_without_objects_is_listed_as_such(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = _run(aws, placer, tmp_path)
    run.all()
    catalog.transaction(lambda cursor: cursor.execute("UPDATE association SET status = 'REBUILDING'"))
    [study] = Queries(catalog).study_list()
    assert study.status == "RUNNING"
    catalog.transaction(lambda cursor: cursor.execute("UPDATE instance SET study_instance_uid = '1.2.3'"))
    [study] = Queries(catalog).study_list()
    assert (study.status, study.instance_count) == ("NO_OBJECTS", 0)
    render.studies([study], Console(record=True))
