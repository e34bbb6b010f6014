"""How an association ends: by which name its execution fails, and what the catalog says of each object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract.association import Ending
from lambdas import errors
from lambdas.catalog.queries import Queries
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import Outputs, Run

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


def _files(folder: Path, count: int, patient_id: str = "P-1") -> list[bytes]:
    return [path.read_bytes() for path in ct_series(folder, count, patient_id=patient_id)]


def test_an_object_that_healthimaging_refuses_fails_the_execution_by_name_and_the_others_are_recorded(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 3)))
    outputs = run.imported()
    refused = outputs.success.pop()["inputFile"]
    outputs.fail(refused, message="Patient DOE^JANE is not valid")
    with pytest.raises(errors.IncompleteError, match="of 3 objects 1 failed") as raised:
        run.all(outputs)
    assert type(raised.value).__name__ == "Ingest.Incomplete"
    [failed] = Queries(catalog).stored_objects(run.placed.association, only_failed=True)
    assert (failed.s3_key, failed.import_status, failed.import_fault) == (refused, "FAILED", "CUSTOMER")
    assert (failed.import_error, failed.import_error_message) == ("ValidationException", "Patient DOE^JANE is not valid")
    [study] = Queries(catalog).study_list()
    assert (study.imported_count, study.status) == (2, "INCOMPLETE")


def test_a_server_fault_and_a_warning_are_told_apart(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    faulted, warned = (entry.key for entry in run.placed.entries)
    outputs = Outputs()
    outputs.fail(faulted, "InternalServerException", "try again")
    outputs.succeed(warned, "set-1")
    outputs.warn(warned, "set-1")
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    by_key = {one.s3_key: one for one in Queries(catalog).stored_objects(run.placed.association)}
    assert by_key[faulted].import_fault == "SERVER"
    assert (by_key[warned].import_status, by_key[warned].image_set_id) == ("IMPORTED", "set-1")
    assert [warning["type"] for warning in by_key[warned].import_warnings] == ["InvalidOffsetTable"]
    [job] = Queries(catalog).import_jobs(run.placed.association)
    assert (job.status, job.scanned, job.imported, job.failed, job.warned) == ("COMPLETED", 2, 1, 1, 1)


def test_a_foreign_object_under_the_prefix_is_a_mismatch_and_is_named(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 1)))
    outputs = run.imported()
    outputs.fail("instances/edge-1/foreign.txt")
    with pytest.raises(errors.LedgerMismatchError, match="1 foreign"):
        run.all(outputs)
    [foreign] = Queries(catalog).stored_objects(run.placed.association, only_failed=True)
    assert (foreign.s3_key, foreign.is_foreign, foreign.import_status) == ("instances/edge-1/foreign.txt", True, "FAILED")
    association = Queries(catalog).association(run.placed.association)
    assert association is not None
    assert (association.status, association.error) == ("LEDGER_MISMATCH", "Ingest.LedgerMismatch")


def test_a_file_that_stands_in_no_output_is_a_mismatch(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    outputs = run.imported()
    outputs.success.pop()
    with pytest.raises(errors.LedgerMismatchError, match="of 2 objects 1 without a result"):
        run.all(outputs)


def test_a_part_that_was_not_indexed_is_a_mismatch(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    run.register()
    run.claim()
    run.collect(run.imported())
    with pytest.raises(errors.LedgerMismatchError, match="2 not looked at"):
        run.reconcile()


def test_a_quarantined_object_is_incomplete_and_never_imported(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 1), quarantined=[b"not DICOM"]))
    with pytest.raises(errors.IncompleteError, match="of 2 objects 1 quarantined"):
        run.all()
    [held] = Queries(catalog).stored_objects(run.placed.association, only_failed=True)
    assert held.quarantine_reason == "its data set cannot be read"


def test_an_association_of_nothing_but_quarantined_objects_has_nothing_to_map_over(
    aws: Aws, placer: Placer, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(quarantined=[b"not DICOM"]))
    plan = run.register()
    assert (plan["slices"], plan["parts"]) == ([], [])
    with pytest.raises(errors.IncompleteError, match="of 1 objects 1 quarantined"):
        run.reconcile()


def test_a_repair_and_a_redrive_turn_the_same_association_green(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 2)))
    outputs = run.imported()
    outputs.fail(outputs.success.pop()["inputFile"])
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    run.collect(run.imported(), job_id="job2")
    assert run.reconcile()["verdict"] == "COMPLETE"
    association = Queries(catalog).association(run.placed.association)
    assert association is not None
    assert (association.status, association.error) == ("COMPLETE", None)


@pytest.mark.parametrize("ending", [Ending.ABORTED, Ending.LOST, Ending.IDLE, Ending.RECOVERED])
def test_a_study_whose_association_ended_early_shows_as_such(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path, ending: Ending
) -> None:
    run = Run(aws=aws, placed=placer.place(_files(tmp_path, 1), ending=ending))
    assert run.all()["verdict"] == "COMPLETE"
    assert [study.status for study in Queries(catalog).study_list()] == ["ENDED_EARLY"]


def test_a_verdict_of_an_execution_that_lost_its_lease_is_not_written(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    placed = placer.place(_files(tmp_path, 1))
    first, second = Run(aws=aws, placed=placed), Run(aws=aws, placed=placed, name="second")
    first.register()
    second.register()
    with pytest.raises(errors.LedgerMismatchError):
        first.reconcile()
    assert [row["status"] for row in rows(catalog, "association")] == ["RUNNING"]
