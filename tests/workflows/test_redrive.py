"""The fault matrix: whatever fails, at whichever state, a redrive or a restart gives the rows of a run without faults.

Each case strikes once (tests.support.rehearsal says how), looks at what the association's row says of it, repairs, and then
redrives the execution or starts a new one with the same input. One object fails by HealthImaging's own fault at first, so
that a run without faults takes two import jobs; a case may not take more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import workflows
from lambdas.catalog import Catalog
from lambdas.catalog.queries import Queries
from tests.support.catalog import empty, everything
from tests.support.memory_cloud import MemoryImaging, MemoryS3
from tests.support.rehearsal import INGEST_TASKS, WAITS_AFTER, Fault, Kind, Rehearsal
from tests.support.stub_pipeline import states_of
from tests.workflows.conftest import PATIENT_ID, PlacedOnce

if TYPE_CHECKING:
    from lambdas.catalog import CatalogSettings
    from tests.support.associations import PlacedAssociation

Rows = dict[str, list[dict[str, Any]]]

IMPORT_TASKS = ("ClaimImport", "StageCopies", "StartImportJob", "RecordJob", "GetImportJob", "CollectResults", "RecordFailure")
AFTER_WAITS = {"WaitForJob": "GetImportJob", "WaitToRetry": "ClaimImport"}
# States that do no work of their own: they fail when a state inside them does, or not at all.
OF_NO_WORK = {"IndexAndImport", "IndexSlices", "ImportParts", "JobKnown", "JobFound", "JobEnded", "RetryNeeded"}
OF_NO_WORK |= {"NothingToImport", "Imported", "ImportFailed"}

AT_WORK = (Kind.SIBLING, Kind.STOP, Kind.KILL)
NO_SIBLING = {"RegisterAssociation", "ReconcileAssociation"}
CASES = [
    Fault(state, kind)
    for state in (*INGEST_TASKS, *IMPORT_TASKS, *WAITS_AFTER)
    for kind in (AT_WORK if state in WAITS_AFTER else Kind)
    if not (kind is Kind.SIBLING and state in NO_SIBLING)
] + [Fault("ImportPart", Kind.TIMES_OUT)]

JOB = f"{1:032}"
"""The first job of a rehearsal."""

# What differs between one way to the end and another: who drove it.
_WHO = ("execution_arn", "redrive_count")


@dataclass(frozen=True)
class Clean:
    """What runs without faults left: the rows, and how many import jobs were made."""

    rows: Rows
    jobs: int


Rehearse = Callable[..., Rehearsal]


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def rehearse(patched: pytest.MonkeyPatch, placed_once: PlacedOnce) -> Rehearse:
    """Makes a rehearsal on a catalog, with a log in a folder, in which so many jobs fail before one does not."""
    placed, objects = placed_once

    def rehearse(catalog: Catalog, folder: Path, failing_jobs: int = 0, **options: Any) -> Rehearsal:
        s3 = MemoryS3()
        s3.objects |= objects
        faulted = placed.entries[1].key.rpartition("/")[2]
        imaging = MemoryImaging(s3, service_faults={faulted}, failing_jobs=failing_jobs)
        rehearsal = Rehearsal(catalog, s3, imaging, folder / "log.sqlite", **options)
        rehearsal.patch(patched)
        return rehearsal

    return rehearse


@pytest.fixture(scope="module")
def clean(
    rehearse: Rehearse, migrated_settings: CatalogSettings, placed_once: PlacedOnce, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[int, Clean]:
    """By how many jobs failed."""
    found = {}
    for failing_jobs in (0, 1):
        catalog = Catalog(lambda: migrated_settings)
        empty(catalog)
        with rehearse(catalog, tmp_path_factory.mktemp("clean"), failing_jobs) as rehearsal:
            arn = rehearsal.start(placed_once[0])
            for _ in range(failing_jobs):
                assert rehearsal.ended(arn).status == "FAILED"
                rehearsal.engine.redrive_execution(arn)
            assert rehearsal.ended(arn).status == "SUCCEEDED"
            found[failing_jobs] = Clean(rows_of(catalog), len(rehearsal.imaging.jobs))
        catalog.close()
    return found


def rows_of(catalog: Catalog) -> Rows:
    return {
        table: [{name: value for name, value in row.items() if name not in _WHO} for row in rows]
        for table, rows in everything(catalog).items()
    }


def status_of(catalog: Catalog, placed: PlacedAssociation) -> str | None:
    row = Queries(catalog).association(placed.association)
    return None if row is None else row.status


def test_a_run_without_faults_takes_one_job_more_for_what_the_service_failed_at(clean: Mapping[int, Clean]) -> None:
    assert [one.jobs for one in clean.values()] == [2, 3]
    for one in clean.values():
        assert [row["status"] for row in one.rows["association"]] == ["COMPLETE"]
        assert [row["import_status"] for row in one.rows["stored_object"]] == ["IMPORTED"] * 3


def test_outputs_that_never_became_whole_are_collected_by_a_redrive_once_they_are(
    rehearse: Rehearse, clean: Mapping[int, Clean], catalog: Catalog, placed: PlacedAssociation, tmp_path: Path
) -> None:
    """The failure stays at the import: a redrive collects again, where a verdict over half of the results would not."""
    with rehearse(catalog, tmp_path) as rehearsal:
        rehearsal.imaging.withhold = "SUCCESS/success.ndjson"
        arn = rehearsal.start(placed)
        assert (rehearsal.ended(arn).error, status_of(catalog, placed)) == ("States.TaskFailed", "FAILED")
        assert [row.error for row in Queries(catalog).import_jobs(placed.association)] == ["Import.OutputsMissing"]
        rehearsal.imaging.write_withheld()
        rehearsal.engine.redrive_execution(arn)
        assert rehearsal.ended(arn).status == "SUCCEEDED"
        assert rows_of(catalog) == clean[0].rows
        assert len(rehearsal.imaging.jobs) == clean[0].jobs


def test_the_matrix_has_every_state_of_both_machines() -> None:
    states = {name for machine in workflows.MACHINES for name, _ in states_of(json.loads(workflows.definition(machine)))}
    assert states == {case.state for case in CASES} | {"FindJob"} | OF_NO_WORK


@pytest.mark.parametrize("again", ["redrive", "restart"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state} {case.kind}")
def test_the_rows_are_those_of_a_run_without_faults_after(
    *,
    case: Fault,
    again: str,
    rehearse: Rehearse,
    clean: Mapping[int, Clean],
    catalog: Catalog,
    placed: PlacedAssociation,
    tmp_path: Path,
) -> None:
    failing_jobs = int(case.state == "RecordFailure")
    poll_cap_seconds = 3600 if case.state == "ImportPart" else 60  # a day passes there
    with rehearse(catalog, tmp_path, failing_jobs, poll_cap_seconds=poll_cap_seconds) as rehearsal:
        rehearsal.fault = case
        arn = rehearsal.start(placed)
        strike(rehearsal, case, arn, then_throw=again == "redrive")
        first = rehearsal.ended(arn)
        survived = case.kind is Kind.KILL and again == "restart" and not failing_jobs
        assert first.status == ("SUCCEEDED" if survived else "ABORTED" if case.kind is Kind.STOP else "FAILED")
        had_its_verdict = case.state == "ReconcileAssociation" and case.kind is not Kind.THROWS
        assert status_of(catalog, placed) == ("COMPLETE" if survived or had_its_verdict else first.status)
        rehearsal.repair()
        for _ in range(1 + failing_jobs):
            if again == "redrive":
                rehearsal.engine.redrive_execution(arn)
            else:
                arn = rehearsal.restart(placed)
            if (last := rehearsal.ended(arn)).status == "SUCCEEDED":
                break
        assert last.status == "SUCCEEDED"
        assert rows_of(catalog) == clean[failing_jobs].rows
        assert len(rehearsal.imaging.jobs) == clean[failing_jobs].jobs
        told = json.dumps(rehearsal.histories())
        assert placed.association in told
        assert not [secret for secret in (PATIENT_ID, "Test^Case", "19700101") if secret in told]


@pytest.mark.parametrize("again", ["redrive", "restart"])
@pytest.mark.parametrize("child", ["stopped", "refused"])
def test_the_rows_are_those_of_a_run_without_faults_after_an_import_that_was(
    *,
    child: str,
    again: str,
    rehearse: Rehearse,
    clean: Mapping[int, Clean],
    catalog: Catalog,
    placed: PlacedAssociation,
    tmp_path: Path,
) -> None:
    """ImportPart, which is a state of its own: its child is ended by hand, or cannot be started at all."""
    with rehearse(catalog, tmp_path, import_missing=child == "refused") as rehearsal:
        if child == "stopped":
            rehearsal.fault = Fault("WaitForJob", Kind.STOP)
        arn = rehearsal.start(placed)
        if child == "stopped":
            assert rehearsal.struck.wait(30), "the job was never waited for"
            rehearsal.stop_child()
        first = rehearsal.ended(arn)
        assert (first.status, status_of(catalog, placed)) == ("FAILED", "FAILED")
        assert first.error == ("States.TaskFailed" if child == "stopped" else "StepFunctions.StateMachineDoesNotExistException")
        rehearsal.repair()
        if again == "redrive":
            rehearsal.engine.redrive_execution(arn)
        else:
            arn = rehearsal.restart(placed)
        assert rehearsal.ended(arn).status == "SUCCEEDED"
        assert rows_of(catalog) == clean[0].rows
        assert len(rehearsal.imaging.jobs) == clean[0].jobs


@pytest.mark.parametrize("again", ["redrive", "restart"])
@pytest.mark.parametrize("outputs", [True, False], ids=["outputs", "no outputs"])
def test_the_rows_are_those_of_a_run_without_faults_after_healthimaging_has_forgotten_the_job_and_there_are(
    *,
    outputs: bool,
    again: str,
    rehearse: Rehearse,
    clean: Mapping[int, Clean],
    catalog: Catalog,
    placed: PlacedAssociation,
    tmp_path: Path,
) -> None:
    """With outputs the job is collected. Without, its attempt ends as one whose job FAILED, and the next follows."""
    failing_jobs = int(not outputs)
    with rehearse(catalog, tmp_path, failing_jobs) as rehearsal:
        rehearsal.fault = Fault("WaitForJob", Kind.STOP)
        arn = rehearsal.start(placed)
        assert rehearsal.struck.wait(30), "the job was never waited for"
        rehearsal.engine.stop_execution(arn)
        assert rehearsal.ended(arn).status == "ABORTED"
        if outputs:
            rehearsal.imaging.end(JOB)
        rehearsal.imaging.forget()
        rehearsal.repair()
        for _ in range(1 + failing_jobs):
            if again == "redrive":
                rehearsal.engine.redrive_execution(arn)
            else:
                arn = rehearsal.restart(placed)
            last = rehearsal.ended(arn)
        assert last.status == "SUCCEEDED"
        found, expected = rows_of(catalog), clean[failing_jobs].rows
        told = [(row["status"], row["error"]) for row in found["import_job"] if row["error"]]
        assert told == ([] if outputs else [("FAILED", "Import.JobNotFound")])
        assert without_errors(found) == without_errors(expected)
        assert len(rehearsal.imaging.jobs) == clean[failing_jobs].jobs


@pytest.mark.parametrize("again", ["redrive", "restart"])
@pytest.mark.parametrize("ended", [True, False], ids=["has ended", "runs"])
def test_a_job_whose_id_was_never_recorded_is_found_though_its_token_is_forgotten_and_it(
    *,
    ended: bool,
    again: str,
    rehearse: Rehearse,
    clean: Mapping[int, Clean],
    catalog: Catalog,
    placed: PlacedAssociation,
    tmp_path: Path,
) -> None:
    with rehearse(catalog, tmp_path) as rehearsal:
        arn = job_is_lost(rehearsal, placed)
        if ended:
            rehearsal.imaging.end(JOB)
        rehearsal.repair()
        if again == "redrive":
            rehearsal.engine.redrive_execution(arn)
        else:
            arn = rehearsal.restart(placed)
        assert rehearsal.ended(arn).status == "SUCCEEDED"
        assert rows_of(catalog) == clean[0].rows
        assert len(rehearsal.imaging.jobs) == clean[0].jobs


@pytest.mark.parametrize("again", ["redrive", "restart"])
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SIBLING])
def test_a_job_whose_id_was_never_recorded_is_found_after_the_search_for_it_failed(
    *,
    kind: Kind,
    again: str,
    rehearse: Rehearse,
    clean: Mapping[int, Clean],
    catalog: Catalog,
    placed: PlacedAssociation,
    tmp_path: Path,
) -> None:
    with rehearse(catalog, tmp_path) as rehearsal:
        arn = job_is_lost(rehearsal, placed)
        rehearsal.struck.clear()
        rehearsal.fault = Fault("FindJob", kind)
        rehearsal.engine.redrive_execution(arn)
        strike(rehearsal, rehearsal.fault, arn, then_throw=True)
        assert rehearsal.ended(arn).status == ("ABORTED" if kind is Kind.STOP else "FAILED")
        rehearsal.repair()
        if again == "redrive":
            rehearsal.engine.redrive_execution(arn)
        else:
            arn = rehearsal.restart(placed)
        assert rehearsal.ended(arn).status == "SUCCEEDED"
        assert rows_of(catalog) == clean[0].rows
        assert len(rehearsal.imaging.jobs) == clean[0].jobs


def job_is_lost(rehearsal: Rehearsal, placed: PlacedAssociation) -> str:
    """An execution that failed before it recorded its job; the token of that is forgotten since."""
    rehearsal.fault = Fault("RecordJob", Kind.THROWS)
    arn = rehearsal.start(placed)
    assert rehearsal.ended(arn).status == "FAILED"
    rehearsal.imaging.forget_tokens()
    return arn


def without_errors(rows: Rows) -> Rows:
    """Without why attempts failed."""
    kept = [{name: value for name, value in row.items() if name not in ("error", "cause")} for row in rows["import_job"]]
    return rows | {"import_job": kept}


def strike(rehearsal: Rehearsal, case: Fault, arn: str, *, then_throw: bool) -> None:
    """Do what the case needs beside the fault itself."""
    if case.state == "ImportPart":
        rehearsal.imaging.stuck = True
        rehearsal.ended(arn)
        rehearsal.imaging.stuck = False
    if case.kind not in (Kind.STOP, Kind.KILL):
        return
    assert rehearsal.struck.wait(30), "the state was never reached"
    if case.kind is Kind.STOP:
        rehearsal.engine.stop_execution(arn)
    else:
        rehearsal.kill_engine(Fault(AFTER_WAITS.get(case.state, case.state), Kind.THROWS) if then_throw else None)
