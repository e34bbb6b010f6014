"""An association through all Lambdas of its execution, on a real S3 protocol and a real database."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from contract.association import Ending
from contract.strict import ContractError
from lambdas import errors
from lambdas.catalog import Catalog, migration
from lambdas.catalog.queries import Queries
from tests.support.catalog import empty, everything, rows
from tests.support.dicom import ct_series
from tests.support.lambdas import Outputs, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambdas.catalog import CatalogSettings
    from local.aws import Aws
    from tests.support.associations import Placer
    from tests.support.stepfunctions import StepFunctionsTable

pytestmark = pytest.mark.usefixtures("lambdas")


def _files(folder: Path, count: int, patient_id: str = "P-1") -> list[bytes]:
    return [path.read_bytes() for path in ct_series(folder, count, patient_id=patient_id)]


def _changed(file: bytes, study_description: str = "changed") -> bytes:
    """The same instance with other content."""
    read = dcmread(DicomBytesIO(file))
    read.StudyDescription = study_description
    read.InstanceNumber = 77
    buffer = DicomBytesIO()
    read.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_functions_need_no_more_than_the_user_that_they_log_in_as_by_iam_may_do(
    aws: Aws, placer: Placer, migrated_settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a password: MariaDB has no plugin of AWS'. Rows are deleted where an association takes back what it corrected."""
    for _ in range(2):  # at each deployment
        migration.let_in(migrated_settings, "functions", how="IDENTIFIED BY 'theirs'")
    functions = Catalog(lambda: replace(migrated_settings, user="functions", password="theirs"))
    for name, module in list(sys.modules.items()):
        if name.startswith("lambdas.handlers.") and hasattr(module, "catalog"):
            monkeypatch.setattr(module, "catalog", lambda: functions)
    one, two, three = (_changed(*file) for file in zip(_files(tmp_path, 3), ("before", "after", "before"), strict=True))
    assert Run(aws=aws, placed=placer.place([one])).all()["verdict"] == "COMPLETE"
    correcting = Run(aws=aws, placed=placer.place([two, three]))
    correcting.register()
    for first, corrected in ((0, 1), (1, 0)):
        correcting.index([{"part": 1, "first": first, "count": 1}])
        logged = rows(functions, "change_log", "association = %s", (correcting.placed.association,))
        assert [row["column_name"] for row in logged].count("study_description") == corrected
    with pytest.raises(errors.CatalogRefusedError):
        functions.transaction(lambda cursor: cursor.execute("DROP TABLE change_log"))
    functions.close()


def test_an_association_ends_complete_with_every_image_set_in_the_catalog(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    files = _files(tmp_path, 3)
    run = Run(aws=aws, placed=placer.place(files))
    assert run.all() == {
        "verdict": "COMPLETE",
        "objects": 3,
        "quarantined": 0,
        "object_rows": 3,
        "indexed": 3,
        "not_indexed": 0,
        "imported": 3,
        "warned": 0,
        "failed": 0,
        "superseded": 0,
        "quarantined_rows": 0,
        "foreign": 0,
    }
    [study] = Queries(catalog).study_list()
    first = dcmread(DicomBytesIO(files[0]))
    assert (study.patient_id, study.patient_name, study.study_instance_uid) == ("P-1", "Test^Case", first.StudyInstanceUID)
    assert (study.series_count, study.instance_count, study.imported_count, study.image_set_count) == (1, 3, 3, 1)
    assert (study.modalities, study.status) == (("CT",), "COMPLETE")
    [image_set] = Queries(catalog).image_sets(run.placed.association)
    assert study.image_set_ids == (image_set.image_set_id,)
    assert (image_set.series_instance_uid, image_set.image_set_version, image_set.is_primary) == (
        first.SeriesInstanceUID,
        1,
        True,
    )
    association = Queries(catalog).association(run.placed.association)
    assert association is not None
    assert (association.status, association.execution_arn, association.error) == ("COMPLETE", run.arn, None)


def test_importing_may_write_before_indexing(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    placed = placer.place(_files(tmp_path, 2))
    run = Run(aws=aws, placed=placed)
    plan = run.register()
    run.index(plan["slices"])
    run.claim()
    run.collect(run.imported())
    index_first = everything(catalog)
    empty(catalog, ("stored_object", "instance", "series", "study", "patient", "image_set", "import_job"))
    run.claim()
    run.collect(run.imported())
    run.index(plan["slices"])
    assert everything(catalog) == index_first
    assert run.reconcile()["verdict"] == "COMPLETE"


def test_every_step_repeated_gives_the_same_rows(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    run.all()
    before = everything(catalog)
    run.all()
    assert everything(catalog) == before


def test_the_same_study_three_times_is_three_balanced_ledgers_and_one_set_of_instances(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    files = _files(tmp_path, 3)
    again = [files[0], _changed(files[1]), files[2]]
    runs = [Run(aws=aws, placed=placer.place(sent)) for sent in (files, files, again)]
    assert [run.all()["verdict"] for run in runs] == ["COMPLETE"] * 3
    instances = rows(catalog, "instance")
    assert len(instances) == 3
    newest = {row["object_hash"] for row in rows(catalog, "stored_object", "association = %s", (runs[2].placed.association,))}
    assert {row["object_hash"] for row in instances} == newest
    assert sorted(row["instance_number"] for row in instances) == [1, 3, 77]
    assert [row["study_description"] for row in rows(catalog, "study")] == ["changed"]
    assert all((counts := Queries(catalog).ledger(run.placed.association)) and counts.balanced for run in runs)


def test_the_same_study_three_times_ends_alike_in_whatever_order_its_branches_end_and_are_repeated(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    """Twice identical and once changed; each branch of each may be delayed past all others."""
    files = _files(tmp_path, 3)
    again = [files[0], _changed(files[1]), files[2]]
    runs = [Run(aws=aws, placed=placer.place(sent)) for sent in (files, files, again)]
    tables = ("patient", "study", "series", "instance", "image_set", "stored_object", "conflict")
    results = []
    for seed in range(6):
        empty(catalog)
        branches: list[Callable[[], object]] = []
        for version, run in enumerate(runs, 1):
            slices = run.register()["slices"]
            run.claim()
            run.record("SUBMITTED")
            outputs = Outputs()
            for entry in run.placed.entries:
                outputs.succeed(entry.key, "set-1", version)
            branches += [partial(run.index, slices), partial(run.collect, outputs)]
        order = branches * 2
        random.Random(seed).shuffle(order)
        for branch in order if seed else branches:
            branch()
        assert [run.reconcile()["imported"] for run in runs] == [3, 3, 3]
        results.append(everything(catalog, tables))
    for result in results:
        assert result == results[0]
    assert sorted(row["instance_number"] for row in results[0]["instance"]) == [1, 3, 77]


def test_an_older_association_that_is_indexed_late_changes_nothing(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    files = _files(tmp_path, 2)
    old = Run(aws=aws, placed=placer.place(files))
    new = Run(aws=aws, placed=placer.place([_changed(file) for file in files]))
    tables = ("patient", "study", "series", "instance", "conflict")
    plans = {run.arn: (run, run.register()["slices"]) for run in (old, new)}
    results = []
    for seed in range(4):
        order = [(run, one) for run, slices in plans.values() for one in slices for _ in range(2)]
        random.Random(seed).shuffle(order)
        empty(catalog, tables)
        for run, one in order:
            run.index([one])
        results.append(everything(catalog, tables))
    assert all(result == results[0] for result in results)
    assert {row["study_description"] for row in results[0]["study"]} == {"changed"}


def test_parts_that_supersede_are_imported_one_after_another(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    files = _files(tmp_path, 2)
    plain = Run(aws=aws, placed=placer.place(files[:1], files[1:])).register()
    superseding = Run(aws=aws, placed=placer.place(files, [_changed(files[0])], supersedes=True)).register()
    assert (plain["parts"], plain["parts_at_once"]) == ([1, 2], 10)
    assert (superseding["parts"], superseding["parts_at_once"]) == ([1, 2], 1)
    assert [one["part"] for one in superseding["slices"]] == [1, 2]


def test_of_two_versions_in_one_association_the_later_part_is_current(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    files = _files(tmp_path, 1)
    run = Run(aws=aws, placed=placer.place(files, [_changed(files[0])], supersedes=True))
    run.index(reversed(run.register()["slices"]))
    [instance] = rows(catalog, "instance")
    assert instance["instance_number"] == 77


def test_a_manifest_that_differs_from_its_message_is_refused(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    placed = placer.place(_files(tmp_path, 1))
    placer.rewrite(placed, ending=Ending.LOST, sequence=9)
    with pytest.raises(ContractError, match="differs from its message in sequence, ending"):
        Run(aws=aws, placed=placed).register()


def test_an_object_that_is_gone_from_s3_is_named_and_the_others_are_indexed(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    aws.s3.delete_object(Bucket=run.placed.bucket, Key=run.placed.entries[0].key)
    [result] = run.index(run.register()["slices"])
    assert (result["indexed"], result["not_indexed"]) == (1, 1)
    [gone] = [one for one in Queries(catalog).stored_objects(run.placed.association) if one.not_indexed_reason]
    assert (gone.s3_key, gone.not_indexed_reason) == (run.placed.entries[0].key, "S3 has no such object")


@pytest.mark.parametrize("body", [b"[]", b"{", b"{}", b'{"entries": 7}', b'{"version": 1, "entries": []}'])
def test_a_part_manifest_of_another_form_is_refused(aws: Aws, placer: Placer, tmp_path: Path, body: bytes) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 1)))
    plan = run.register()
    key = f"manifests/edge-1/{run.placed.association}/1.json"
    aws.s3.put_object(Bucket=run.placed.bucket, Key=key, Body=body)
    with pytest.raises(ContractError):
        run.index(plan["slices"])


def test_a_part_manifest_of_another_association_is_refused(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    run, other = (Run(aws=aws, placed=placer.place(_files(tmp_path / name, 1))) for name in "ab")
    plan = run.register()
    source = f"{run.placed.bucket}/manifests/edge-1/{other.placed.association}/1.json"
    key = f"manifests/edge-1/{run.placed.association}/1.json"
    aws.s3.copy_object(Bucket=run.placed.bucket, Key=key, CopySource=source)
    with pytest.raises(ContractError, match="another association"):
        run.index(plan["slices"])


def test_slices_of_a_part_are_indexed_each_on_its_own(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 5)))
    run.register()
    run.index([{"part": 1, "first": 3, "count": 2}, {"part": 1, "first": 0, "count": 3}])
    seen = [(one.position, one.s3_key) for one in Queries(catalog).stored_objects(run.placed.association)]
    assert seen == [(at, entry.key) for at, entry in enumerate(run.placed.entries)]


def test_a_slice_beyond_the_manifest_is_refused(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 1)))
    run.register()
    with pytest.raises(ContractError, match="part 1 ends before object 2"):
        run.index([{"part": 1, "first": 0, "count": 2}])


def test_a_second_live_execution_is_refused_and_one_that_ended_gives_way(
    aws: Aws, placer: Placer, catalog: Catalog, step_functions: StepFunctionsTable, tmp_path: Path
) -> None:
    placed = placer.place(_files(tmp_path, 1))
    first, second = Run(aws=aws, placed=placed), Run(aws=aws, placed=placed, name="second")
    step_functions.put(placed.association)
    first.register()
    first.register()  # its own lease
    with pytest.raises(errors.AlreadyRunningError):
        second.register()
    step_functions.put(placed.association, status="FAILED")
    second.register()
    step_functions.executions.clear()  # gone: Step Functions forgets executions after 90 days
    first.register()
    [row] = rows(catalog, "association")
    assert row["execution_arn"] == first.arn
