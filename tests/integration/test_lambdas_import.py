"""Claiming attempts, recording jobs, collecting outputs: what may be repeated, what goes forward only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from contract.strict import ContractError
from lambdas import errors
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.queries import Queries
from lambdas.handlers import record_failure
from lambdas.handlers.environment import storage
from lambdas.logic.claiming import Part, claim
from tests.support.catalog import everything, rows
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, DATASTORE, Outputs, Run

if TYPE_CHECKING:
    from pathlib import Path

    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


@pytest.fixture
def run(aws: Aws, placer: Placer, tmp_path: Path) -> Run:
    """A registered association of two objects."""
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 2)]))
    run.register()
    return run


def _fail(run: Run, *, attempt: int = 1, job_failed: bool, job_id: str = "job1", error: str = "Import.JobFailed") -> None:
    payload: dict[str, Any] = {
        "association": run.placed.association,
        "part": 1,
        "attempt": attempt,
        "job_id": job_id,
        "job_failed": job_failed,
        "error": error,
        "cause": "FILE_COUNTS_LIMIT",
    }
    assert record_failure.handler(payload, CONTEXT) == {}


def test_the_first_claim_opens_attempt_1_and_the_next_adopts_it(run: Run) -> None:
    first = run.claim()
    association = run.placed.association
    assert first == {
        "attempt": 1,
        "job_id": "",
        "status": "CLAIMED",
        "staged": 0,
        "input_s3_uri": f"s3://{run.placed.bucket}/instances/edge-1/{association}/1/",
        "output_s3_uri": f"s3://{run.placed.bucket}/imports/edge-1/{association}/1/1/",
        "adopted": False,
    }
    assert run.claim() == first | {"adopted": True}
    run.record("SUBMITTED")
    assert run.claim() == first | {"job_id": "job1", "status": "SUBMITTED"}


def test_a_job_that_was_never_recorded_is_found_by_its_outputs(run: Run, aws: Aws, catalog: Catalog) -> None:
    first = run.claim()
    folder = first["output_s3_uri"].split("/", 3)[3]
    aws.s3.put_object(Bucket=run.placed.bucket, Key=f"{folder}strange/object", Body=b"")
    assert run.claim()["job_id"] == ""
    run.imported().write(aws, run.placed.bucket, f"{folder}{DATASTORE}-DicomImport-job7/")
    assert run.claim() == first | {"job_id": "job7", "status": "SUBMITTED"}
    [job] = Queries(catalog).import_jobs(run.placed.association)
    assert (job.job_id, job.status) == ("job7", "SUBMITTED")


def test_a_completed_attempt_is_adopted_so_that_its_results_are_read_again(run: Run) -> None:
    run.claim()
    run.collect(run.imported())
    assert (run.claim()["attempt"], run.claim()["status"], run.claim()["job_id"]) == (1, "COMPLETED", "job1")


def test_only_a_job_that_failed_opens_the_next_attempt(run: Run, catalog: Catalog) -> None:
    run.claim()
    run.record("SUBMITTED")
    _fail(run, job_failed=False, error="Catalog.Unavailable")
    assert (run.claim()["attempt"], run.claim()["status"]) == (1, "SUBMITTED")
    _fail(run, job_failed=True)
    assert (run.claim()["attempt"], run.claim()["job_id"]) == (2, "")
    failed, opened = Queries(catalog).import_jobs(run.placed.association)
    assert (failed.status, failed.error, failed.cause) == ("FAILED", "Import.JobFailed", "FILE_COUNTS_LIMIT")
    assert (opened.status, opened.error) == ("CLAIMED", None)
    assert opened.client_token != failed.client_token


def test_a_start_that_was_refused_is_recorded_and_tried_again_as_the_same_attempt(run: Run, catalog: Catalog) -> None:
    run.claim()
    _fail(run, job_failed=False, job_id="", error="MedicalImaging.ValidationException")
    [job] = Queries(catalog).import_jobs(run.placed.association)
    assert (job.status, job.error, job.job_id) == ("CLAIMED", "MedicalImaging.ValidationException", None)
    assert run.claim()["attempt"] == 1


def test_claims_side_by_side_open_one_attempt(run: Run, catalog: Catalog, migrated_settings: CatalogSettings) -> None:
    part = Part(
        association=run.placed.association, edge="edge-1", bucket=run.placed.bucket, part=1, force=False, failed_only=False
    )

    def one(number: int) -> int:
        own = Catalog(lambda: migrated_settings)
        try:
            return claim(own, storage(), part, execution_arn=f"arn:{number}").attempt
        finally:
            own.close()

    for attempt in (1, 2):
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(one, range(16))) == {attempt}
        assert len(rows(catalog, "import_job")) == attempt
        _fail(run, attempt=attempt, job_failed=True)


def test_the_status_of_a_job_never_goes_backwards(run: Run, catalog: Catalog) -> None:
    run.claim()
    seen = []
    for status in ("SUBMITTED", "IN_PROGRESS", "SUBMITTED", "COMPLETED", "IN_PROGRESS", "FAILED"):
        run.record(status)
        seen.append(Queries(catalog).import_jobs(run.placed.association)[0].status)
    assert seen == ["SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED", "COMPLETED", "COMPLETED"]


def test_an_attempt_that_was_never_claimed_is_said_to_be_unknown(run: Run) -> None:
    with pytest.raises(errors.UnknownAssociationError, match="no attempt 7"):
        run.record("SUBMITTED", attempt=7)
    with pytest.raises(errors.UnknownAssociationError, match="no attempt 1"):
        run.collect(run.imported())


def test_outputs_that_are_late_are_told_by_name(run: Run, catalog: Catalog) -> None:
    run.claim()
    with pytest.raises(errors.OutputsMissingError) as raised:
        run.collect(None)
    assert type(raised.value).__name__ == "Import.OutputsMissing"
    assert run.collect(run.imported()) == {"imported": 2, "failed": 0, "warned": 0, "foreign": 0, "image_sets": 1, "retry": 0}


def test_an_output_that_is_late_is_told_by_name_and_nothing_is_recorded_of_the_others(run: Run, catalog: Catalog) -> None:
    run.claim()
    whole = run.imported()
    late = Outputs(success=whole.success[:1], image_sets=whole.image_sets, scanned=2)
    with pytest.raises(errors.OutputsMissingError, match="scanned 2 files, and its outputs tell of 1"):
        run.collect(late)
    assert rows(catalog, "stored_object") == []
    assert run.collect(whole)["imported"] == 2


def test_outputs_that_never_become_whole_are_taken_by_force_and_the_rest_is_imported_again(run: Run) -> None:
    run.index([{"part": 1, "first": 0, "count": 2}])
    run.claim()
    whole = run.imported()
    half = Outputs(success=whole.success[:1], image_sets=whole.image_sets, scanned=2)
    with pytest.raises(errors.OutputsMissingError):
        run.collect(half)
    assert run.collect(half, force=True)["imported"] == 1
    with pytest.raises(errors.LedgerMismatchError, match="1 without a result"):
        run.reconcile()
    assert run.claim(failed_only=True)["staged"] == 1


def test_outputs_that_tell_of_every_object_are_whole_however_many_files_were_scanned(run: Run) -> None:
    run.claim()
    outputs = run.imported()
    outputs.scanned = 5
    assert run.collect(outputs)["imported"] == 2


def test_a_job_in_which_all_files_failed_has_no_success_output(run: Run) -> None:
    run.claim()
    outputs = Outputs()
    for entry in run.placed.entries:
        outputs.fail(entry.key)
    assert run.collect(outputs) == {"imported": 0, "failed": 2, "warned": 0, "foreign": 0, "image_sets": 0, "retry": 0}


def test_a_file_that_stands_in_success_and_in_failure_has_failed(run: Run, catalog: Catalog) -> None:
    run.claim()
    outputs = run.imported()
    outputs.fail(run.placed.entries[0].key)
    assert (counts := run.collect(outputs))["failed"] == 1, counts
    failed, imported = Queries(catalog).stored_objects(run.placed.association)
    assert (failed.import_status, failed.image_set_id) == ("FAILED", None)
    assert imported.import_status == "IMPORTED"


def test_each_object_keeps_its_image_set_the_version_and_whether_it_is_the_primary_one(run: Run, catalog: Catalog) -> None:
    run.claim()
    outputs = Outputs()
    first, second = run.placed.entries
    outputs.succeed(first.key, "set-1", 7)
    outputs.succeed(second.key, "set-2", primary=False)
    run.collect(outputs)
    kept = {one.s3_key: one for one in Queries(catalog).stored_objects(run.placed.association)}
    assert {key: (one.image_set_id, one.image_set_version, one.image_set_is_primary) for key, one in kept.items()} == {
        first.key: ("set-1", 7, True),
        second.key: ("set-2", 1, False),
    }


def test_outputs_of_an_older_form_lack_version_and_primary(run: Run, aws: Aws, catalog: Catalog) -> None:
    run.claim()
    outputs = Outputs()
    for entry in run.placed.entries:
        outputs.success.append({"inputFile": entry.key, "importResponse": {"imageSetId": "set-1"}})
    run.collect(outputs)
    [image_set] = Queries(catalog).image_sets(run.placed.association)
    assert (image_set.image_set_version, image_set.is_primary) == (None, None)


def test_results_of_an_earlier_attempt_that_come_late_change_nothing(run: Run, catalog: Catalog) -> None:
    run.claim()
    _fail(run, job_failed=True)
    run.claim()
    run.collect(run.imported("set-2"), attempt=2, job_id="job2")
    before = everything(catalog, ("stored_object",))
    run.collect(Outputs(failure=[{"inputFile": run.placed.entries[0].key, "exception": {"exceptionType": "X"}}]), attempt=1)
    assert everything(catalog, ("stored_object",)) == before


def test_an_image_set_keeps_its_newest_version(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    files = [path.read_bytes() for path in ct_series(tmp_path, 1)]
    first, second = (Run(aws=aws, placed=placer.place(files)) for _ in range(2))
    for run, version, primary in ((second, 2, False), (first, 1, True)):
        run.register()
        run.claim()
        outputs = Outputs()
        outputs.succeed(run.placed.entries[0].key, "set-1", version, primary=primary)
        run.collect(outputs)
    [image_set] = rows(catalog, "image_set")
    assert (image_set["image_set_version"], image_set["is_primary"]) == (2, 0)
    assert image_set["association"] == second.placed.association
    assert image_set["datastore_id"] == DATASTORE
    [still] = Queries(catalog).image_sets(first.placed.association)
    assert still.image_set_id == "set-1"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("job-output-manifest.json", b"[]"),
        ("job-output-manifest.json", b"{"),
        ("SUCCESS/success.ndjson", b"not json\n"),
        ("SUCCESS/success.ndjson", b"{}\n"),
        ("FAILURE/failure.ndjson", b'{"inputFile": "x", "exception": 7}\n'),
    ],
)
def test_outputs_of_an_unknown_form_are_refused_without_quoting_them(run: Run, aws: Aws, name: str, body: bytes) -> None:
    run.claim()
    run.collect(run.imported())
    folder = f"imports/edge-1/{run.placed.association}/1/1/{DATASTORE}-DicomImport-job1/"
    aws.s3.put_object(Bucket=run.placed.bucket, Key=folder + name, Body=body)
    with pytest.raises(ContractError) as raised:
        run.collect(None)
    assert "not json" not in str(raised.value)
