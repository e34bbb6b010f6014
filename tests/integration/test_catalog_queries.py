"""What the console asks, on whole and on broken associations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ahi_ingest import app
from console.commands.replay import _select
from console.commands.verify import _studies_of
from contract.association import Ending
from lambdas import errors
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, connect
from tests.support.dicom import ct_series
from tests.support.lambdas import Run

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


@pytest.fixture
def queries(catalog: Catalog) -> Queries:
    return Queries(catalog)


@pytest.fixture
def runs(aws: Aws, placer: Placer, tmp_path: Path) -> list[Run]:
    """Three associations, from oldest to newest: complete, one object refused, only registered."""
    runs = [
        Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path / str(number), 2)]))
        for number in range(3)
    ]
    runs[0].all()
    outputs = runs[1].imported()
    outputs.fail(outputs.success.pop()["inputFile"])
    with pytest.raises(errors.IncompleteError):
        runs[1].all(outputs)
    runs[2].register()
    return runs


def test_associations_come_newest_first_by_status_and_no_more_than_asked(queries: Queries, runs: list[Run]) -> None:
    ids = [run.placed.association for run in runs]
    assert [one.association for one in queries.associations()] == ids[::-1]
    assert [one.association for one in queries.associations(limit=1)] == ids[2:]
    assert [one.association for one in queries.associations(status="INCOMPLETE")] == ids[1:2]
    newest = queries.associations(limit=1)[0]
    assert (newest.status, newest.ending, newest.objects, newest.parts, newest.calling_ae) == (
        "RUNNING",
        "released",
        2,
        1,
        "CT_1",
    )
    assert newest == queries.association(ids[2])


def test_associations_that_share_a_manifest_are_found_by_the_id_of_each(
    aws: Aws, placer: Placer, queries: Queries, migrated_settings: CatalogSettings, tmp_path: Path
) -> None:
    placed = placer.place([path.read_bytes() for path in ct_series(tmp_path, 3)], members=3)
    run = Run(aws=aws, placed=placed)
    run.all()
    run.all()  # once more
    ids = [member.association for member in placed.manifest.members]
    assert [one.member for one in queries.members(placed.association)] == ids
    assert [(one.objects, one.ending) for one in queries.members(placed.association)] == [(1, "released")] * 3
    found = queries.association(placed.association)
    assert found is not None
    assert (found.association, found.status, [queries.association(one) for one in ids]) == (ids[0], "COMPLETE", [found] * 3)
    mysql = {name: getattr(migrated_settings, name) for name in ("host", "port", "user", "password", "database")}
    (tmp_path / "endpoints.json").write_text(json.dumps({"mysql": mysql}))
    shown = CliRunner().invoke(app, ["show", ids[2], "--state", str(tmp_path)], env={"COLUMNS": "200"}).stdout
    assert shown.splitlines()[0] == placed.association
    assert "3 in 1 part(s)" in shown
    assert all(one in shown for one in ids)
    assert _select(queries, ids[2], "", "", "") == [placed.association]  # for a replay
    assert _studies_of(queries, ids[2]) == queries.studies_of(placed.association)
    waited = CliRunner().invoke(app, ["wait", ids[1], "--state", str(tmp_path)], env={"COLUMNS": "200"})
    assert (waited.exit_code, waited.stdout) == (0, f"{ids[1]} is COMPLETE: 3 object(s) imported.\n")


def test_the_ledger_shows_how_far_an_association_has_come(queries: Queries, runs: list[Run]) -> None:
    seen = []
    for run in runs:
        counts = queries.ledger(run.placed.association)
        assert counts is not None
        seen.append(
            (counts.balanced, counts.imported, counts.failed, counts.without_row, counts.without_result, counts.not_looked_at)
        )
    assert seen == [(True, 2, 0, 0, 0, 0), (True, 1, 1, 0, 0, 0), (False, 0, 0, 2, 2, 2)]


def test_objects_come_in_the_manifests_order_and_failed_ones_alone_when_asked(queries: Queries, runs: list[Run]) -> None:
    keys = [entry.key for entry in runs[1].placed.entries]
    assert [one.s3_key for one in queries.stored_objects(runs[1].placed.association)] == keys
    assert [one.s3_key for one in queries.stored_objects(runs[1].placed.association, only_failed=True)] == keys[1:]
    assert queries.stored_objects(runs[0].placed.association, only_failed=True) == []


def test_studies_are_counted_and_not_added_up(queries: Queries, runs: list[Run]) -> None:
    runs[0].all()  # once more
    studies = {study.status: study for study in queries.study_list()}
    assert set(studies) == {"COMPLETE", "INCOMPLETE"}
    assert {(study.series_count, study.instance_count) for study in studies.values()} == {(1, 2)}
    assert (studies["COMPLETE"].imported_count, studies["INCOMPLETE"].imported_count) == (2, 1)
    assert len(queries.study_list(limit=1)) == 1


def test_a_study_is_no_better_than_the_worst_of_its_associations(
    aws: Aws, placer: Placer, queries: Queries, tmp_path: Path
) -> None:
    files = [path.read_bytes() for path in ct_series(tmp_path, 3)]
    Run(aws=aws, placed=placer.place(files[:1])).all()
    Run(aws=aws, placed=placer.place(files[1:2], ending=Ending.LOST)).all()
    assert [study.status for study in queries.study_list()] == ["ENDED_EARLY"]
    last = Run(aws=aws, placed=placer.place(files[2:]))
    last.index(last.register()["slices"])
    assert [study.status for study in queries.study_list()] == ["RUNNING"]


def test_what_is_unknown_is_none_or_nothing(queries: Queries) -> None:
    assert queries.association("none") is None
    assert queries.members("none") == []
    assert queries.ledger("none") is None
    assert [*queries.stored_objects("none"), *queries.import_jobs("none"), *queries.image_sets("none")] == []
    assert [*queries.study_list(), *queries.associations()] == []


def test_a_console_connects_by_settings(migrated_settings: CatalogSettings) -> None:
    queries = connect(migrated_settings)
    assert queries.association("none") is None
    queries.close()
