"""Rebuilding where attempts are missing that nobody knows a job of, and where copies are that were imported."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

import pydicom
import pytest

from console import history
from console.aws import Cloud
from console.history import Attempted, Remembered
from console.rebuilding import Rebuilding
from console.stack import Stack
from contract.keys import imports_prefix, instances_prefix, manifest_key, retries_prefix
from lambdas.catalog import orphans
from lambdas.catalog.imports import AttemptKey
from lambdas.catalog.queries import Queries
from lambdas.handlers.environment import executions, storage
from lambdas.logic.claiming import JobInput
from lambdas.logic.issuers import parse_issuers
from lambdas.logic.outputs import job_input
from lambdas.logic.starting import parse_announcement
from lambdas.logic.sweeping import Sweep
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import DATASTORE, Outputs, Run
from tests.support.stepfunctions import MACHINE

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog, CatalogSettings
    from local.aws import Aws
    from tests.support.associations import Placer
    from tests.support.stepfunctions import StepFunctionsTable

pytestmark = pytest.mark.usefixtures("lambdas")


def stack_of(aws: Aws, bucket: str, settings: CatalogSettings, *, step_functions_url: str = "") -> Stack:
    endpoint = {
        "endpoint_url": aws.endpoint_url,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
        "region": REGION,
    }
    machines = {"endpoint_url": step_functions_url} if step_functions_url else endpoint
    return Stack(
        cloud=Cloud.of_endpoints({"aws": endpoint, "stepfunctions": machines, "medical_imaging": endpoint}),
        bucket=bucket,
        queues=(),
        ingest_machine_arn="",
        import_machine_arn="",
        datastore_id=DATASTORE,
        catalog_settings=settings,
    )


class Past:
    """What S3 has of import jobs that have ended, and a rebuild of just these."""

    def __init__(self, aws: Aws, settings: CatalogSettings, bucket: str) -> None:
        self._aws, self._settings, self._bucket = aws, settings, bucket
        self._at = datetime.now(UTC)

    def job(self, run: Run, outputs: Outputs | None, *, attempt: int = 1, staged: bool = False) -> Attempted:
        """A job that ended after those before it: COMPLETED with these outputs, or FAILED."""
        key = AttemptKey(association=run.placed.association, part=1, attempt=attempt)
        prefix = retries_prefix("edge-1", *run.part, attempt) if staged else instances_prefix("edge-1", *run.part)
        folder = f"{imports_prefix('edge-1', *run.part, attempt)}{DATASTORE}-DicomImport-{key.association[-8:]}{attempt}/"
        input_ = JobInput(s3_uri=f"s3://{self._bucket}/{prefix}")
        if outputs is not None:
            outputs.input_s3_uri = input_.s3_uri
            outputs.write(self._aws, self._bucket, folder)
            input_ = job_input(storage(), f"s3://{self._bucket}/{folder}")
        self._at += timedelta(seconds=1)
        return Attempted(
            key=key,
            edge="edge-1",
            job_id=f"{key.association[-8:]}{attempt}",
            status="FAILED" if outputs is None else "COMPLETED",
            message="",
            output_s3_uri=f"s3://{self._bucket}/{folder}",
            at=self._at,
            execution_arn="",
            opened_by={},
            input=input_,
        )

    def rebuild(self, *jobs: Attempted) -> list[str]:
        """Why some were not rebuilt."""
        stack = stack_of(self._aws, self._bucket, self._settings)
        with closing(Rebuilding(stack, self._settings, parse_issuers("{}"), at_once=1)) as rebuilding:
            return [problem.why for problem in rebuilding.import_(jobs) if problem is not None]


@pytest.fixture
def older_and_newer(aws: Aws, placer: Placer, tmp_path: Path) -> tuple[Run, Run]:
    """An association of two objects, and a later one that sends the first of them with other content."""
    files = [path.read_bytes() for path in ct_series(tmp_path, 2)]
    older, newer = (Run(aws=aws, placed=placer.place(sent)) for sent in (files, [sent_again(files[0])]))
    for run in (older, newer):
        run.register()
    return older, newer


@pytest.fixture
def past(aws: Aws, older_and_newer: tuple[Run, Run], migrated_settings: CatalogSettings) -> Past:
    return Past(aws, migrated_settings, older_and_newer[0].placed.bucket)


def sent_again(file: bytes) -> bytes:
    dataset = pydicom.dcmread(BytesIO(file))
    dataset.ImageComments = "again"
    written = BytesIO()
    dataset.save_as(written)
    return written.getvalue()


def of_copies(run: Run, *numbers: int, attempt: int = 1) -> Outputs:
    """Outputs of a job that imported copies of these objects, which are not there any more."""
    outputs = Outputs()
    for number in numbers:
        own, copies = instances_prefix("edge-1", *run.part), retries_prefix("edge-1", *run.part, attempt)
        outputs.succeed(run.placed.entries[number].key.replace(own, copies), "set-1")
    return outputs


def statuses(catalog: Catalog, run: Run) -> list[str | None]:
    """Of the objects in their order, and then of those that are foreign."""
    found = rows(catalog, "stored_object", "association = %s", (run.placed.association,))
    found.sort(key=lambda row: (row["is_foreign"], row["position"]))
    return ["foreign" if row["is_foreign"] else row["import_status"] for row in found]


def scopes(catalog: Catalog, run: Run) -> list[tuple[str, int, int]]:
    found = rows(catalog, "import_scope", "association = %s ORDER BY attempt", (run.placed.association,))
    return [(row["reason"], row["objects"], row["left_out"]) for row in found]


def test_results_of_copies_that_have_expired_are_those_of_the_originals(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, newer = older_and_newer
    jobs = past.job(newer, newer.imported()), past.job(older, of_copies(older, 1), staged=True)
    assert past.rebuild(*jobs) == []
    assert statuses(catalog, older) == ["SUPERSEDED", "IMPORTED"]
    assert scopes(catalog, older) == [("SUPERSEDED", 1, 1)]
    [superseded] = rows(catalog, "stored_object", "import_status = 'SUPERSEDED'")
    assert superseded["import_error_message"] == f"{newer.placed.association} sent it again with other content"


def test_results_of_copies_are_those_of_the_originals_though_what_superseded_the_rest_was_imported_later(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, newer = older_and_newer
    jobs = past.job(older, of_copies(older, 1), staged=True), past.job(newer, newer.imported())
    assert past.rebuild(*jobs) == []
    assert statuses(catalog, older) == ["SUPERSEDED", "IMPORTED"]
    assert scopes(catalog, older) == [("SUPERSEDED", 1, 1)]


def test_a_part_that_was_imported_whole_is_so_though_some_of_it_had_been_imported_again_by_then(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    """Its attempt was claimed before the later association came, and waited for HealthImaging."""
    older, newer = older_and_newer
    newest, oldest = past.job(newer, newer.imported()), past.job(older, older.imported())
    assert past.rebuild(newest) == past.rebuild(oldest) == []
    assert statuses(catalog, older) == ["IMPORTED", "IMPORTED"]
    assert scopes(catalog, older) == [("WHOLE", 2, 0)]


def test_an_attempt_at_what_the_service_failed_at_is_rebuilt_when_its_copies_have_expired(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, _ = older_and_newer
    outputs = of_copies(older)
    outputs.fail(older.placed.entries[0].key, "InternalServerException")
    outputs.succeed(older.placed.entries[1].key, "set-1")
    assert past.rebuild(past.job(older, outputs), past.job(older, of_copies(older, 0, attempt=2), attempt=2, staged=True)) == []
    assert statuses(catalog, older) == ["IMPORTED", "IMPORTED"]
    assert scopes(catalog, older) == [("WHOLE", 2, 0), ("SERVICE_FAULT", 1, 0)]


def test_copies_of_which_outputs_are_missing_are_those_that_an_import_would_have_made(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, newer = older_and_newer
    outputs = of_copies(older)
    outputs.scanned = 1
    assert past.rebuild(past.job(newer, newer.imported()), past.job(older, outputs, staged=True)) == []
    assert statuses(catalog, older) == ["SUPERSEDED"]
    assert scopes(catalog, older) == [("SUPERSEDED", 1, 1)]


def test_what_a_failed_job_left_out_is_explained_by_what_was_imported_later(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, newer = older_and_newer
    failed = past.job(older, None, staged=True)  # of which objects, its outputs would have told
    after = past.job(older, of_copies(older, 1, attempt=2), attempt=2, staged=True)
    assert past.rebuild(failed, after, past.job(newer, newer.imported())) == []
    assert statuses(catalog, older) == ["SUPERSEDED", "IMPORTED"]
    assert scopes(catalog, older) == [("SUPERSEDED", 1, 1), ("SUPERSEDED", 1, 0)]


def test_what_a_job_imported_for_no_reason_that_is_known_is_not_rebuilt_however_often_that_is_tried(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, _ = older_and_newer
    failed = past.job(older, None, staged=True)
    after = past.job(older, of_copies(older, 1, attempt=2), attempt=2, staged=True)
    for _ in range(2):
        assert past.rebuild(failed, after) == ["part 1, attempt 1: nothing that is known explains what its job imported"] * 2
    assert (rows(catalog, "import_job"), statuses(catalog, older)) == ([], [])


def test_a_job_whose_outputs_do_not_tell_what_it_imported_is_not_rebuilt(
    past: Past, catalog: Catalog, older_and_newer: tuple[Run, Run]
) -> None:
    older, _ = older_and_newer
    job = replace(past.job(older, older.imported()), input=JobInput())
    assert past.rebuild(job) == ["part 1, attempt 1: its outputs do not tell what its job imported"]
    assert rows(catalog, "import_job") == []


def test_an_attempt_after_one_without_a_job_is_rebuilt(
    aws: Aws, placer: Placer, catalog: Catalog, migrated_settings: CatalogSettings, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 2)]))
    run.register()
    placed = run.placed
    past = Past(aws, migrated_settings, placed.bucket)
    assert past.rebuild(past.job(run, run.imported(), attempt=2)) == []
    jobs = Queries(catalog).import_jobs(placed.association)
    assert [(job.status, job.error) for job in jobs] == [("FAILED", "Import.NotStarted"), ("COMPLETED", None)]
    assert {one.import_status for one in Queries(catalog).stored_objects(placed.association)} == {"IMPORTED"}


def test_people_are_not_told_of_what_was_news_long_ago(
    aws: Aws, placer: Placer, catalog: Catalog, migrated_settings: CatalogSettings
) -> None:
    placed = placer.place(quarantined=[b"not DICOM"])
    remembered = [Remembered(announcement=placed.announcement, run=None)]
    stack = stack_of(aws, placed.bucket, migrated_settings)
    with closing(Rebuilding(stack, migrated_settings, parse_issuers("{}"), at_once=1)) as rebuilding:
        assert list(rebuilding.register(remembered)) == [None]
        assert list(rebuilding.index(remembered)) == [None]
    assert [row.status for row in Queries(catalog).associations()] == ["INCOMPLETE"]
    assert catalog.transaction(orphans.untold) == []


def test_a_sweep_of_the_database_that_is_rebuilt_starts_nothing_that_step_functions_has_forgotten(
    *,
    aws: Aws,
    placer: Placer,
    catalog: Catalog,
    migrated_settings: CatalogSettings,
    step_functions: StepFunctionsTable,
    tmp_path: Path,
) -> None:
    placed = placer.place([path.read_bytes() for path in ct_series(tmp_path, 1)])
    remembered = Remembered(announcement=parse_announcement(placed.document), run=None)
    stack = stack_of(aws, placed.bucket, migrated_settings)
    with closing(Rebuilding(stack, migrated_settings, parse_issuers("{}"), at_once=1)) as rebuilding:
        assert list(rebuilding.register([remembered])) == [None]
        sweep = Sweep(
            catalog=catalog,
            storage=storage(),
            executions=executions(),
            bucket=placed.bucket,
            state_machine_arn=MACHINE,
            now=datetime.now(UTC) + timedelta(hours=1),
        )
        assert sweep.run() == []
        assert step_functions.executions == {}
        assert list(rebuilding.index([remembered])) == [None]
    [row] = rows(catalog, "association")
    assert row["status"] == "LEDGER_MISMATCH", "nothing of it was imported"
    assert row["told_at"] is not None


def test_an_execution_by_hand_and_a_manifest_of_another_version_keep_no_other_from_being_rebuilt(
    aws: Aws, placer: Placer, migrated_settings: CatalogSettings, step_functions: StepFunctionsTable
) -> None:
    placed = placer.place([b"one"])
    by_hand = {name: value for name, value in placed.document.items() if name != "sent_at_ms"}
    step_functions.put("by-hand", json.dumps(by_hand), status="FAILED", error="ContractError")  # listed as the latest
    step_functions.put(placed.association, json.dumps(placed.document), status="SUCCEEDED")
    other = f"{placed.association[:-1]}{'0' if placed.association[-1] != '0' else '1'}"
    aws.s3.put_object(Bucket=placed.bucket, Key=manifest_key("edge-1", other), Body=b'{"version": 2}')
    stack = replace(
        stack_of(aws, placed.bucket, migrated_settings, step_functions_url=step_functions.url), ingest_machine_arn=MACHINE
    )
    remembered, unreadable = history.associations(stack)
    [one] = [one for one in remembered if one.announcement.message.association == placed.association]
    assert one.run is not None
    assert (one.run.status, one.announcement.sent_at_ms) == ("SUCCEEDED", placed.sent_at_ms)
    [problem] = [problem for problem in unreadable if problem.association == other]
    assert problem.why.startswith(f"{manifest_key('edge-1', other)}: ")
