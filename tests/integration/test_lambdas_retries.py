"""What is imported again, and what is not: service faults, what an operator asks for, and what a later association sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from console.render import why
from lambdas import errors
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.queries import Queries
from lambdas.handlers import record_failure
from lambdas.handlers.environment import storage
from lambdas.logic.claiming import Part, claim
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, DATASTORE, Outputs, Run

if TYPE_CHECKING:
    from pathlib import Path

    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


@pytest.fixture
def files(tmp_path: Path) -> list[bytes]:
    """Three instances of one series."""
    return [path.read_bytes() for path in ct_series(tmp_path, 3)]


@pytest.fixture
def run(aws: Aws, placer: Placer, files: list[bytes]) -> Run:
    run = Run(aws=aws, placed=placer.place(files))
    run.index(run.register()["slices"])
    return run


def changed(file: bytes, **values: str) -> bytes:
    """The same instance with other content; or one of that SOP Instance UID with other `values`, by keyword."""
    dataset = pydicom.dcmread(DicomBytesIO(file))
    dataset.SeriesDescription = "sent again"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    written = DicomBytesIO()
    dataset.save_as(written)
    return written.getvalue()


def faulted(run: Run, *numbers: int, exception: str = "InternalServerException") -> Outputs:
    """Outputs of a job over the whole part by which these objects failed."""
    outputs = run.imported("set-1")
    for key in [run.placed.entries[number].key for number in numbers]:
        outputs.success = [line for line in outputs.success if line["inputFile"] != key]
        outputs.fail(key, exception, "of the service's own")
    return outputs


def keys_below(run: Run, uri: str) -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    listed = run.aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", [])]


def of_copies(keys: list[str], image_set: str, version: int = 2) -> Outputs:
    outputs = Outputs()
    for key in keys:
        outputs.succeed(key, image_set, version)
    return outputs


def fail(run: Run, *, attempt: int = 1, refused: bool = False) -> None:
    """The job of an attempt ends FAILED, or its start is `refused`."""
    error = "MedicalImaging.AccessDeniedException" if refused else "Import.JobFailed"
    payload: dict[str, Any] = {"association": run.placed.association, "part": 1, "attempt": attempt, "cause": ""}
    payload |= {"job_id": "" if refused else f"job{attempt}", "job_failed": not refused, "error": error}
    record_failure.handler(payload, CONTEXT)


def scopes(catalog: Catalog) -> list[tuple[Any, ...]]:
    found = [(row["attempt"], row["reason"], row["objects"], row["left_out"]) for row in rows(catalog, "import_scope")]
    return sorted(found)


def test_objects_that_failed_by_the_services_fault_are_imported_again_and_booked_on_the_original(
    run: Run, catalog: Catalog
) -> None:
    run.claim()
    assert run.collect(faulted(run, 1))["retry"] == 1
    again = run.claim()
    assert (again["attempt"], again["job_id"], again["staged"]) == (2, "", 1)
    assert again["input_s3_uri"].endswith(f"/retries/edge-1/{run.placed.association}/1/2/")
    assert run.stage(attempt=2) == run.stage(attempt=2) == {"staged": 1}
    [copy] = keys_below(run, again["input_s3_uri"])
    assert copy.rpartition("/")[2] == run.placed.entries[1].key.rpartition("/")[2]
    assert run.collect(of_copies([copy], "set-1"), attempt=2, job_id="job2")["retry"] == 0
    assert run.reconcile()["imported"] == 3
    by_key = {one.s3_key: one for one in Queries(catalog).stored_objects(run.placed.association)}
    assert by_key.keys() == {entry.key for entry in run.placed.entries}
    one = by_key[run.placed.entries[1].key]
    assert (one.import_status, one.import_job_id, one.image_set_version, one.import_error) == ("IMPORTED", "job2", 2, None)
    assert scopes(catalog) == [(1, "WHOLE", 3, 0), (2, "SERVICE_FAULT", 1, 0)]
    assert run.claim()["attempt"] == 2


def test_a_staged_object_has_the_same_bytes(run: Run) -> None:
    run.claim()
    run.collect(faulted(run, 0, 2))
    again = run.claim()
    run.stage(attempt=2)
    for copy in keys_below(run, again["input_s3_uri"]):
        original = copy.replace(
            f"retries/edge-1/{run.placed.association}/1/2/", f"instances/edge-1/{run.placed.association}/1/"
        )
        bodies = [run.aws.s3.get_object(Bucket=run.placed.bucket, Key=key)["Body"].read() for key in (copy, original)]
        assert bodies[0] == bodies[1]


def test_a_service_that_goes_on_failing_is_asked_three_times_more(run: Run, catalog: Catalog) -> None:
    run.claim()
    retries = [run.collect(faulted(run, 0))["retry"]]
    for attempt in (2, 3, 4):
        claimed = run.claim()
        assert (claimed["attempt"], claimed["staged"]) == (attempt, 1)
        run.stage(attempt=attempt)
        outputs = Outputs()
        outputs.fail(keys_below(run, claimed["input_s3_uri"])[0], "InternalServerException", "again")
        retries.append(run.collect(outputs, attempt=attempt, job_id=f"job{attempt}")["retry"])
    assert retries == [1, 1, 1, 0]
    assert run.claim()["attempt"] == 4
    with pytest.raises(errors.IncompleteError, match="of 3 objects 1 failed"):
        run.reconcile()
    [failed] = Queries(catalog).stored_objects(run.placed.association, only_failed=True)
    assert (failed.import_fault, failed.import_error_message) == ("SERVER", "again")


def test_an_object_that_failed_by_its_own_fault_is_imported_again_only_when_an_operator_says_so(
    run: Run, catalog: Catalog
) -> None:
    run.claim()
    assert run.collect(faulted(run, 1, exception="ValidationException"))["retry"] == 0
    assert run.claim()["attempt"] == 1
    again = run.claim(failed_only=True)
    assert (again["attempt"], again["staged"]) == (2, 1)
    assert run.claim(failed_only=True)["attempt"] == 2
    run.stage(attempt=2)
    run.collect(of_copies(keys_below(run, again["input_s3_uri"]), "set-1"), attempt=2, job_id="job2")
    assert run.reconcile()["verdict"] == "COMPLETE"
    assert run.claim(failed_only=True)["attempt"] == 2
    assert scopes(catalog)[1] == (2, "FAILED_ONLY", 1, 0)


def test_an_object_that_healthimaging_has_not_seen_counts_as_not_imported(run: Run) -> None:
    run.claim()
    outputs = run.imported("set-1")
    outputs.success.pop()
    run.collect(outputs)
    assert run.claim(failed_only=True)["staged"] == 1


def test_a_job_of_copies_that_failed_is_followed_by_one_of_the_same_copies(run: Run, catalog: Catalog) -> None:
    run.claim()
    run.collect(faulted(run, 1))
    run.claim()
    fail(run, attempt=2)
    again = run.claim()
    assert (again["attempt"], again["staged"]) == (3, 1)
    assert run.stage(attempt=3) == {"staged": 1}
    assert [reason for _, reason, *_ in scopes(catalog)] == ["WHOLE", "SERVICE_FAULT", "SERVICE_FAULT"]


def test_a_part_of_which_every_object_failed_is_imported_again_without_copies(run: Run) -> None:
    run.claim()
    run.collect(faulted(run, 0, 1, 2))
    again = run.claim()
    assert (again["attempt"], again["staged"]) == (2, 0)
    assert again["input_s3_uri"].endswith(f"/instances/edge-1/{run.placed.association}/1/")


# Superseded


def test_a_replay_of_an_old_association_leaves_out_what_a_later_one_sent_again(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    later = Run(aws=aws, placed=placer.place([changed(files[1])]))
    later.all(later.imported("set-1"))
    claimed = run.claim()
    assert claimed["staged"] == 2
    run.stage()
    copies = keys_below(run, claimed["input_s3_uri"])
    assert len(copies) == 2
    run.collect(of_copies(copies, "set-1"))
    counts = run.reconcile()
    assert (counts["verdict"], counts["imported"], counts["superseded"]) == ("COMPLETE", 2, 1)
    by_key = {one.s3_key: one for one in Queries(catalog).stored_objects(run.placed.association)}
    one = by_key[run.placed.entries[1].key]
    assert (one.import_status, one.import_error) == ("SUPERSEDED", "Superseded")
    assert one.import_error_message == f"{later.placed.association} sent it again with other content"
    assert (1, "SUPERSEDED", 2, 1) in scopes(catalog)
    [listed] = Queries(catalog).stored_objects(run.placed.association, only_failed=True)
    assert why(listed) == f"superseded: {later.placed.association} sent it again with other content"


@pytest.mark.parametrize(
    "values",
    [
        {"PatientID": "P-2", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"},
        {"StudyInstanceUID": "1.2.3"},
        {"SeriesInstanceUID": "1.2.3.4"},
        {"StudyInstanceUID": "", "SeriesInstanceUID": ""},
    ],
)
def test_an_object_of_another_study_or_series_supersedes_none_though_its_sop_instance_uid_is_the_same(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], values: dict[str, str]
) -> None:
    later = Run(aws=aws, placed=placer.place([changed(files[1], **values)]))
    later.all(later.imported("set-2"))
    assert run.claim()["staged"] == 0
    run.collect(run.imported("set-1"))
    counts = run.reconcile()
    assert (counts["imported"], counts["superseded"]) == (3, 0)


def test_the_last_of_each_series_decides_what_was_sent_again(aws: Aws, placer: Placer, run: Run, files: list[bytes]) -> None:
    """Where an equal SOP Instance UID of another series came last, what its own series has sent again is still left out."""
    others: list[dict[str, str]] = [{}, {"SeriesInstanceUID": "1.2.3.4"}]
    for values in others:
        Run(aws=aws, placed=placer.place([changed(files[1], **values)])).all()
    assert run.claim()["staged"] == 2


def test_an_object_without_study_and_series_is_superseded_by_its_like(aws: Aws, placer: Placer, files: list[bytes]) -> None:
    bare = [changed(file, StudyInstanceUID="", SeriesInstanceUID="") for file in files]
    run = Run(aws=aws, placed=placer.place(bare))
    run.index(run.register()["slices"])
    Run(aws=aws, placed=placer.place([changed(bare[1], SeriesDescription="sent once more")])).all()
    assert run.claim()["staged"] == 2


def test_force_imports_it_nevertheless_and_that_is_recorded(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    later = Run(aws=aws, placed=placer.place([changed(files[1])]))
    later.all()
    assert run.claim(force=True)["staged"] == 0
    run.collect(run.imported("set-1"))
    assert run.reconcile()["superseded"] == 0
    assert (1, "FORCED", 3, 1) in scopes(catalog)


def test_force_after_the_rest_was_imported_imports_what_was_left_out(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    Run(aws=aws, placed=placer.place([changed(files[1])])).all()
    run.stage(attempt=run.claim()["attempt"])
    run.collect(of_copies(keys_below(run, run.claim()["input_s3_uri"]), "set-1"))
    claimed = run.claim(force=True)
    assert (claimed["attempt"], claimed["staged"]) == (2, 1)
    run.stage(attempt=2)
    run.collect(of_copies(keys_below(run, claimed["input_s3_uri"]), "set-1", 3), attempt=2, job_id="job2")
    assert run.reconcile()["superseded"] == 0
    assert run.claim(force=True)["attempt"] == 2


def test_an_attempt_that_never_started_gives_way_to_one_without_what_was_sent_again_since(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    assert run.claim()["staged"] == 0
    fail(run, refused=True)
    later = Run(aws=aws, placed=placer.place([changed(files[1])]))
    later.all(later.imported("set-1"))
    claimed = run.claim()
    assert (claimed["attempt"], claimed["status"], claimed["staged"]) == (2, "CLAIMED", 2)
    assert run.claim() == claimed | {"adopted": True}
    run.stage(attempt=2)
    copies = keys_below(run, claimed["input_s3_uri"])
    assert {key.rpartition("/")[2] for key in copies} == {run.placed.entries[n].key.rpartition("/")[2] for n in (0, 2)}
    run.collect(of_copies(copies, "set-1"), attempt=2, job_id="job2")
    counts = run.reconcile()
    assert (counts["verdict"], counts["imported"], counts["superseded"]) == ("COMPLETE", 2, 1)
    given_up, _ = Queries(catalog).import_jobs(run.placed.association)
    assert (given_up.status, given_up.error, given_up.job_id) == ("FAILED", "Import.NotStarted", None)
    assert given_up.cause == "no job was recorded, and 1 of its objects were sent again with other content"


def test_an_attempt_that_ended_and_was_never_recorded_does_not_give_way(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    claimed = run.claim()
    folder = claimed["output_s3_uri"].split("/", 3)[3]
    run.imported("set-1").write(aws, run.placed.bucket, f"{folder}{DATASTORE}-DicomImport-job1/")
    later = Run(aws=aws, placed=placer.place([changed(files[1])]))
    later.all(later.imported("set-1"))
    assert run.claim() == claimed | {"job_id": "job1", "status": "SUBMITTED"}
    assert run.collect(None)["imported"] == 3


def test_copies_that_never_started_give_way_to_fewer(aws: Aws, placer: Placer, run: Run, files: list[bytes]) -> None:
    run.claim()
    run.collect(faulted(run, 0, 1))
    assert (run.claim()["attempt"], run.claim()["staged"]) == (2, 2)
    fail(run, attempt=2, refused=True)
    Run(aws=aws, placed=placer.place([changed(files[2])])).all()
    assert (run.claim()["attempt"], run.claim()["staged"]) == (2, 2)
    Run(aws=aws, placed=placer.place([changed(files[1])])).all()
    for _ in range(2):
        claimed = run.claim()
        assert (claimed["attempt"], claimed["staged"]) == (3, 1)


def test_an_attempt_that_never_started_ends_when_everything_was_sent_again(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    run.claim()
    Run(aws=aws, placed=placer.place([changed(file) for file in files])).all()
    for _ in range(2):
        assert run.claim()["status"] == "NOTHING"
    assert run.reconcile()["superseded"] == 3
    assert [job.status for job in Queries(catalog).import_jobs(run.placed.association)] == ["FAILED"]


@pytest.mark.parametrize("why", ["its job is recorded", "forced"])
def test_an_attempt_keeps_what_was_sent_again_since_when(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], why: str
) -> None:
    first = run.claim()
    if why == "its job is recorded":
        run.record("SUBMITTED")
    Run(aws=aws, placed=placer.place([changed(files[1])])).all()
    again = run.claim(force=why == "forced")
    assert (again["attempt"], again["input_s3_uri"]) == (1, first["input_s3_uri"])


def test_claims_side_by_side_give_up_an_attempt_once(
    placer: Placer, run: Run, files: list[bytes], catalog: Catalog, migrated_settings: CatalogSettings
) -> None:
    run.claim()
    Run(aws=run.aws, placed=placer.place([changed(files[1])])).all()
    placed = run.placed
    part = Part(association=placed.association, edge="edge-1", bucket=placed.bucket, part=1, force=False, failed_only=False)

    def one(number: int) -> tuple[int, int]:
        with closing(Catalog(lambda: migrated_settings)) as own:
            claimed = claim(own, storage(), part, execution_arn=f"arn:{number}")
            return claimed.attempt, claimed.staged

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {(2, 2)}
    assert [job.status for job in Queries(catalog).import_jobs(placed.association)] == ["FAILED", "CLAIMED"]


@pytest.mark.parametrize("refused", [False, True])
def test_force_after_the_rest_failed_or_never_started_imports_what_was_left_out(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog, *, refused: bool
) -> None:
    Run(aws=aws, placed=placer.place([changed(files[1])])).all()
    assert run.claim()["staged"] == 2
    fail(run, refused=refused)
    for _ in range(2):
        claimed = run.claim(force=True)
        assert (claimed["attempt"], claimed["staged"]) == (2, 0)
    assert claimed["input_s3_uri"].endswith(f"/instances/edge-1/{run.placed.association}/1/")
    run.collect(run.imported("set-1"), attempt=2, job_id="job2")
    assert run.reconcile()["superseded"] == 0
    assert (2, "FORCED", 3, 1) in scopes(catalog)
    assert run.claim(force=True)["attempt"] == 2


def test_force_imports_what_was_left_out_together_with_what_the_service_failed_at(
    aws: Aws, placer: Placer, run: Run, files: list[bytes]
) -> None:
    Run(aws=aws, placed=placer.place([changed(files[1])])).all()
    claimed = run.claim()
    run.stage()
    kept, faulty = keys_below(run, claimed["input_s3_uri"])
    outputs = of_copies([kept], "set-1")
    outputs.fail(faulty, "InternalServerException")
    run.collect(outputs)
    claimed = run.claim(force=True)
    assert (claimed["attempt"], claimed["staged"]) == (2, 2)
    fail(run, attempt=2)
    again = run.claim(force=True)
    assert (again["attempt"], again["staged"]) == (3, 2)
    run.stage(attempt=3)
    run.collect(of_copies(keys_below(run, again["input_s3_uri"]), "set-1"), attempt=3, job_id="job3")
    counts = run.reconcile()
    assert (counts["imported"], counts["superseded"]) == (3, 0)


def test_an_association_of_which_everything_was_sent_again_starts_no_job_and_is_complete(
    aws: Aws, placer: Placer, run: Run, files: list[bytes], catalog: Catalog
) -> None:
    Run(aws=aws, placed=placer.place([changed(file) for file in files])).all()
    for _ in range(2):
        assert run.claim()["status"] == "NOTHING"
    assert run.reconcile()["superseded"] == 3
    assert [row["association"] for row in rows(catalog, "import_job")] != [run.placed.association]
    assert run.claim(force=True)["status"] == "CLAIMED"


@pytest.mark.parametrize("again", ["the same content", "then the old content", "refused by HealthImaging", "earlier"])
def test_what_undoes_nothing_is_not_left_out(aws: Aws, placer: Placer, run: Run, files: list[bytes], again: str) -> None:
    other = changed(files[1])
    sent = {"the same content": [files[1]], "then the old content": [other, files[1]]}.get(again, [other])
    for file in sent:
        later = Run(aws=aws, placed=placer.place([file], sent_at_ms=1_780_000_000_000 if again == "earlier" else None))
        if again == "refused by HealthImaging":
            with pytest.raises(errors.IncompleteError):
                later.all(faulted(later, 0, exception="ValidationException"))
        elif again == "earlier":
            later.index(later.register()["slices"])
        else:
            later.all()
    assert run.claim()["staged"] == 0


def test_a_later_part_of_the_same_association_supersedes_once_it_is_imported(
    aws: Aws, placer: Placer, files: list[bytes]
) -> None:
    run = Run(aws=aws, placed=placer.place(files, [changed(files[1])], supersedes=True))
    run.index(run.register()["slices"])
    assert run.claim()["staged"] == 0
    run.collect(faulted(run, 1, exception="ValidationException"))
    run.claim(2)
    run.collect(run.imported("set-1", part=2), part=2, job_id="job2")
    assert run.claim(failed_only=True)["status"] == "NOTHING"
