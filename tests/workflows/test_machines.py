"""The two machines, as they are deployed, on our engine with stub Lambdas: each named behaviour of workflows/README.md."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import pytest

import workflows
from local.stepfunctions import TaskError
from tests.support.stub_pipeline import ASSOCIATION, JOB_ID, Pipeline, always, failing, states_of

EVENTS_MAX = 25_000  # of one execution (Step Functions Developer Guide, "Service quotas")

Json = Any


def test_an_association_is_registered_indexed_imported_and_reconciled() -> None:
    pipeline = Pipeline(
        slices=[{"part": 1, "first": 0, "count": 100}, {"part": 2, "first": 0, "count": 50}],
        parts=[1, 2],
        statuses=["IN_PROGRESS", "IN_PROGRESS", "COMPLETED", "COMPLETED"],
    )
    ingest, imports = pipeline.run()
    assert (ingest.status, ingest.output) == ("SUCCEEDED", {"verdict": "COMPLETE", "objects": 100})
    assert [one.status for one in imports] == ["SUCCEEDED", "SUCCEEDED"]
    assert [call["count"] for call in pipeline.stubs.called("IndexObjects")] == [100, 50]
    assert pipeline.stubs.called("ReconcileAssociation") == [{"association": ASSOCIATION, "execution_arn": ingest.arn}]
    names = [one.arn.rpartition(":")[2] for one in imports]
    assert {name[: len(ASSOCIATION) + 3] for name in names} == {f"{ASSOCIATION}.1.", f"{ASSOCIATION}.2."}


def test_one_slice_and_one_part_are_still_lists() -> None:
    ingest, imports = Pipeline().run()
    assert ingest.status == "SUCCEEDED"
    assert len(imports) == 1


def test_an_association_with_nothing_to_import_goes_straight_to_its_verdict() -> None:
    pipeline = Pipeline(slices=[], parts=[], functions={"ReconcileAssociation": always("Ingest.Incomplete")})
    ingest, imports = pipeline.run()
    assert (ingest.status, ingest.error, imports) == ("FAILED", "Ingest.Incomplete", [])


def test_parts_that_supersede_are_imported_one_after_another() -> None:
    pipeline = Pipeline(parts=[1, 2, 3], parts_at_once=1, statuses=["COMPLETED"] * 3)
    _, imports = pipeline.run()
    order = [name for name, _ in pipeline.stubs.calls if name in {"ClaimImport", "CollectResults"}]
    assert order == ["ClaimImport", "CollectResults"] * 3
    assert [one.status for one in imports] == ["SUCCEEDED"] * 3


def test_the_job_has_a_token_and_a_name_made_of_association_part_and_attempt() -> None:
    pipeline = Pipeline(claim={"attempt": 2, "job_id": "", "status": "CLAIMED", "staged": 0})
    pipeline.run()
    (started,) = pipeline.stubs.called("startDICOMImportJob")
    token = hashlib.sha256(f"{ASSOCIATION}/1/2".encode()).hexdigest()
    assert started["ClientToken"] == token
    assert started["JobName"] == f"{ASSOCIATION}#{token[:12]}"
    assert len(started["JobName"]) <= 64


def test_a_job_that_is_known_is_not_started_again() -> None:
    pipeline = Pipeline(claim={"attempt": 1, "job_id": JOB_ID, "status": "IN_PROGRESS", "staged": 0}, statuses=["COMPLETED"])
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    assert pipeline.stubs.called("startDICOMImportJob") == []
    assert len(pipeline.stubs.called("CollectResults")) == 1


def test_a_job_that_was_collected_is_collected_again_though_healthimaging_lists_it_no_more() -> None:
    pipeline = Pipeline(
        claim={"attempt": 1, "job_id": JOB_ID, "status": "COMPLETED", "staged": 0},
        medical_imaging={"getDICOMImportJob": always("MedicalImaging.ResourceNotFoundException")},
    )
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    [collected] = pipeline.stubs.called("CollectResults")
    assert collected["job_output_s3_uri"] == f"s3://images/imports/DatastoreId-DicomImport-{JOB_ID}/"


def test_the_job_is_tracked_from_submitted_to_its_end_and_each_status_is_recorded_once() -> None:
    pipeline = Pipeline(statuses=["SUBMITTED", "IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"])
    pipeline.run()
    assert [call["status"] for call in pipeline.stubs.called("RecordJob")] == ["SUBMITTED", "IN_PROGRESS"]


def test_waits_grow_to_a_cap() -> None:
    _, (child,) = Pipeline(statuses=["IN_PROGRESS"] * 7 + ["COMPLETED"]).run()
    times = [event["timestamp"] for event in child.history if event["type"] in {"WaitStateEntered", "WaitStateExited"}]
    waited = [round(left - entered) for entered, left in zip(times[::2], times[1::2], strict=True)]
    assert waited == [10, 15, 23, 35, 53, 60, 60, 60]


@pytest.mark.parametrize(
    "error", ["ThrottlingException", "ServiceQuotaExceededException", "InternalServerException", "SdkClientException"]
)
def test_healthimaging_that_throttles_or_is_away_is_asked_again_with_the_same_token(error: str) -> None:
    job = {"JobId": JOB_ID, "JobStatus": "SUBMITTED"}
    pipeline = Pipeline(medical_imaging={"startDICOMImportJob": failing(30, f"MedicalImaging.{error}", job)})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    started = pipeline.stubs.called("startDICOMImportJob")
    assert len(started) == 31
    assert len({call["ClientToken"] for call in started}) == 1


def test_healthimaging_that_stays_away_is_waited_for_through_hours() -> None:
    pipeline = Pipeline(medical_imaging={"startDICOMImportJob": always("MedicalImaging.ThrottlingException")})
    _, (child,) = pipeline.run()
    assert child.error == "MedicalImaging.ThrottlingException"
    assert child.seconds > 2 * 3600
    assert len(child.history) < EVENTS_MAX


def test_a_start_that_is_refused_is_recorded_and_fails_the_import_by_that_name() -> None:
    pipeline = Pipeline(medical_imaging={"startDICOMImportJob": always("MedicalImaging.ValidationException")})
    ingest, (child,) = pipeline.run()
    assert len(pipeline.stubs.called("startDICOMImportJob")) == 1
    (recorded,) = pipeline.stubs.called("RecordFailure")
    assert (recorded["error"], recorded["job_failed"]) == ("MedicalImaging.ValidationException", False)
    assert child.error == "MedicalImaging.ValidationException"
    assert (ingest.status, ingest.error) == ("FAILED", "States.TaskFailed")


def test_a_job_that_failed_is_recorded_with_its_message_and_is_not_tried_again_by_itself() -> None:
    pipeline = Pipeline(statuses=["IN_PROGRESS", "FAILED"])
    ingest, (child,) = pipeline.run()
    (recorded,) = pipeline.stubs.called("RecordFailure")
    assert (recorded["error"], recorded["job_failed"], recorded["job_id"]) == ("Import.JobFailed", True, JOB_ID)
    assert "FILE_COUNTS_LIMIT" in recorded["cause"]
    assert child.error == "Import.JobFailed"
    assert ingest.status == "FAILED"
    assert pipeline.stubs.called("ReconcileAssociation") == []


ADOPTED = {"attempt": 2, "job_id": "", "status": "CLAIMED", "staged": 0, "adopted": True}
JOB_NAME = f"{ASSOCIATION}#{hashlib.sha256(f'{ASSOCIATION}/1/2'.encode()).hexdigest()[:12]}"


def listing(*pages: tuple[str, list[str]]) -> Any:
    """ListDICOMImportJobs of pages of a status and the names of its jobs, one of which may be this attempt's."""

    def call(arguments: Json) -> Json:
        of_status = [names for status, names in pages if status == arguments["JobStatus"]]
        page = int(arguments.get("NextToken", 0))
        names = of_status[page] if of_status else []
        summaries = [{"JobId": JOB_ID if name == JOB_NAME else "another", "JobName": name} for name in names]
        return {"JobSummaries": summaries} | ({"NextToken": str(page + 1)} if page + 1 < len(of_status) else {})

    return call


@pytest.mark.parametrize(
    ("pages", "asked"),
    [
        ([("SUBMITTED", [f"{ASSOCIATION}#000000000000", JOB_NAME])], ["SUBMITTED"]),
        ([("IN_PROGRESS", [JOB_NAME, JOB_NAME])], ["SUBMITTED", "IN_PROGRESS"]),
        ([("SUBMITTED", ["a"]), ("SUBMITTED", ["b"]), ("SUBMITTED", [JOB_NAME])], ["SUBMITTED"] * 3),
        ([("SUBMITTED", ["a"]), ("SUBMITTED", ["b"]), ("IN_PROGRESS", [JOB_NAME])], ["SUBMITTED"] * 2 + ["IN_PROGRESS"]),
    ],
)
def test_a_job_that_runs_and_was_never_recorded_is_found_by_its_name(
    pages: list[tuple[str, list[str]]], asked: list[str]
) -> None:
    pipeline = Pipeline(claim=ADOPTED, statuses=["COMPLETED"], medical_imaging={"listDICOMImportJobs": listing(*pages)})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    assert [call["JobStatus"] for call in pipeline.stubs.called("listDICOMImportJobs")] == asked
    assert pipeline.stubs.called("startDICOMImportJob") == []
    recorded = [(call["job_id"], call["status"]) for call in pipeline.stubs.called("RecordJob")]
    assert recorded == [(JOB_ID, asked[-1])]


@pytest.mark.parametrize("staged", [0, 3])
def test_an_adopted_attempt_of_which_no_job_is_found_is_started(staged: int) -> None:
    pipeline = Pipeline(
        claim=ADOPTED | {"staged": staged},
        statuses=["COMPLETED"],
        medical_imaging={"listDICOMImportJobs": listing(("SUBMITTED", ["a"]), ("IN_PROGRESS", []))},
    )
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    assert len(pipeline.stubs.called("StageCopies")) == (1 if staged else 0)
    [started] = pipeline.stubs.called("startDICOMImportJob")
    assert started["JobName"] == JOB_NAME


def test_a_search_for_a_job_that_is_refused_is_recorded_and_starts_none() -> None:
    refused = {"listDICOMImportJobs": always("MedicalImaging.AccessDeniedException")}
    pipeline = Pipeline(claim=ADOPTED, medical_imaging=refused)
    _, (child,) = pipeline.run()
    [recorded] = pipeline.stubs.called("RecordFailure")
    assert (recorded["error"], recorded["job_failed"]) == ("MedicalImaging.AccessDeniedException", False)
    assert (child.error, pipeline.stubs.called("startDICOMImportJob")) == ("MedicalImaging.AccessDeniedException", [])


def test_an_attempt_that_is_opened_anew_costs_no_search() -> None:
    pipeline = Pipeline(medical_imaging={"listDICOMImportJobs": always("KeyError")})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    assert pipeline.stubs.called("listDICOMImportJobs") == []


UNKNOWN_JOB = "MedicalImaging.ResourceNotFoundException"


def test_a_job_that_healthimaging_does_not_know_for_a_moment_is_asked_for_again() -> None:
    completed = {"JobId": JOB_ID, "JobStatus": "COMPLETED", "OutputS3Uri": "s3://images/imports/x/"}
    pipeline = Pipeline(medical_imaging={"getDICOMImportJob": failing(3, UNKNOWN_JOB, {"JobProperties": completed})})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    [results] = pipeline.stubs.called("CollectResults")
    assert results["job_output_s3_uri"] == "s3://images/imports/x/"


def test_a_job_that_healthimaging_knows_no_more_is_told_by_its_outputs() -> None:
    pipeline = Pipeline(medical_imaging={"getDICOMImportJob": always(UNKNOWN_JOB)})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    [results] = pipeline.stubs.called("CollectResults")
    assert results["job_output_s3_uri"] == f"s3://images/imports/DatastoreId-DicomImport-{JOB_ID}/"
    assert len(pipeline.stubs.called("startDICOMImportJob")) == 1


def test_a_job_that_healthimaging_does_not_know_and_that_has_no_outputs_ends_its_attempt_by_name() -> None:
    pipeline = Pipeline(
        functions={"CollectResults": always("Import.OutputsMissing")},
        medical_imaging={"getDICOMImportJob": always(UNKNOWN_JOB)},
    )
    ingest, (child,) = pipeline.run()
    (recorded,) = pipeline.stubs.called("RecordFailure")
    assert (recorded["error"], recorded["job_failed"], recorded["job_id"]) == ("Import.JobNotFound", True, JOB_ID)
    assert child.error == "Import.JobNotFound"
    assert (ingest.status, ingest.error) == ("FAILED", "States.TaskFailed")


def test_an_unknown_job_whose_outputs_cannot_be_read_just_now_keeps_its_attempt_open() -> None:
    pipeline = Pipeline(
        functions={"CollectResults": always("Storage.Refused")},
        medical_imaging={"getDICOMImportJob": always(UNKNOWN_JOB)},
    )
    _, (child,) = pipeline.run()
    (recorded,) = pipeline.stubs.called("RecordFailure")
    assert (recorded["error"], recorded["job_failed"], child.error) == ("Storage.Refused", False, "Storage.Refused")


def test_outputs_that_are_late_are_waited_for() -> None:
    results = {"imported": 100, "failed": 0, "warned": 0, "foreign": 0, "image_sets": 1, "retry": 0}
    pipeline = Pipeline(functions={"CollectResults": failing(5, "Import.OutputsMissing", results)})
    ingest, _ = pipeline.run()
    assert ingest.status == "SUCCEEDED"


def test_outputs_that_never_come_fail_the_import_by_name() -> None:
    pipeline = Pipeline(functions={"CollectResults": always("Import.OutputsMissing")})
    ingest, (child,) = pipeline.run()
    assert child.error == "Import.OutputsMissing"
    assert [call["job_failed"] for call in pipeline.stubs.called("RecordFailure")] == [False]
    assert child.seconds < 600
    assert ingest.status == "FAILED"


def collected(retry: int) -> Json:
    return {"imported": 100 - retry, "failed": retry, "warned": 0, "foreign": 0, "image_sets": 1, "retry": retry}


def test_objects_that_failed_by_the_services_fault_are_staged_and_imported_by_another_attempt_after_a_wait() -> None:
    claims = iter([{"attempt": 1, "job_id": "", "status": "CLAIMED", "staged": 0}])
    uris = {"input_s3_uri": "s3://images/in/", "output_s3_uri": "s3://images/out/"}
    second = {"attempt": 2, "job_id": "", "status": "CLAIMED", "staged": 3}
    results = iter([collected(3), collected(0)])
    pipeline = Pipeline(
        statuses=["COMPLETED", "COMPLETED"],
        functions={
            "ClaimImport": lambda _payload: {**next(claims, second), **uris},
            "CollectResults": lambda _payload: next(results),
        },
    )
    ingest, (child,) = pipeline.run()
    assert ingest.status == "SUCCEEDED"
    assert [call["attempt"] for call in pipeline.stubs.called("StageCopies")] == [2]
    assert len({call["ClientToken"] for call in pipeline.stubs.called("startDICOMImportJob")}) == 2
    assert child.states().count("WaitToRetry") == 1
    assert child.seconds >= 60


def test_a_part_of_which_everything_is_superseded_starts_no_job() -> None:
    pipeline = Pipeline(claim={"attempt": 1, "job_id": "", "status": "NOTHING", "staged": 0})
    ingest, (child,) = pipeline.run()
    assert (ingest.status, child.output) == ("SUCCEEDED", {"imported": 0})
    assert pipeline.stubs.called("startDICOMImportJob") == []


@pytest.mark.parametrize("force", [False, True])
def test_force_reaches_the_claim(force: bool) -> None:
    pipeline = Pipeline()
    registered = pipeline.usual["RegisterAssociation"]({}) | {"force": force}
    pipeline = Pipeline(functions={"RegisterAssociation": lambda _payload: registered})
    pipeline.run()
    assert [(call["force"], call["failed_only"]) for call in pipeline.stubs.called("ClaimImport")] == [(force, False)]


LAMBDAS = ["RegisterAssociation", "IndexObjects", "ReconcileAssociation", "ClaimImport", "RecordJob", "CollectResults"]


@pytest.mark.parametrize("function", LAMBDAS)
def test_a_catalog_that_is_away_for_minutes_is_waited_for(function: str) -> None:
    pipeline = Pipeline()
    answer, left = pipeline.usual[function], [10]

    def away_first(payload: Json) -> Json:
        if left[0]:
            left[0] -= 1
            raise TaskError("Catalog.Unavailable", "{}")
        return answer(payload)

    ingest, _ = Pipeline(functions={function: away_first}).run()
    assert ingest.status == "SUCCEEDED"
    assert left == [0]


@pytest.mark.parametrize("function", ["RegisterAssociation", "IndexObjects", "ReconcileAssociation"])
def test_a_fault_of_our_own_is_not_retried_and_fails_where_it_happened(function: str) -> None:
    pipeline = Pipeline(functions={function: always("KeyError")})
    ingest, _ = pipeline.run()
    assert (ingest.status, ingest.error) == ("FAILED", "KeyError")
    assert len(pipeline.stubs.called(function)) == 1


@pytest.mark.parametrize("verdict", ["Ingest.Incomplete", "Ingest.LedgerMismatch"])
def test_a_bad_verdict_is_never_retried_and_names_the_failure(verdict: str) -> None:
    pipeline = Pipeline(functions={"ReconcileAssociation": always(verdict)})
    ingest, _ = pipeline.run()
    assert (ingest.status, ingest.error) == ("FAILED", verdict)
    assert len(pipeline.stubs.called("ReconcileAssociation")) == 1


def test_a_second_live_execution_is_refused_by_name() -> None:
    ingest, imports = Pipeline(functions={"RegisterAssociation": always("Ingest.AlreadyRunning")}).run()
    assert (ingest.status, ingest.error, imports) == ("FAILED", "Ingest.AlreadyRunning", [])


def test_the_largest_association_stays_within_the_limits_of_history_and_of_data() -> None:
    slices = [{"part": 1 + number // 25, "first": 200 * number % 5000, "count": 200} for number in range(500)]
    ingest, imports = Pipeline(slices=slices, parts=list(range(1, 21)), statuses=["COMPLETED"] * 20).run()
    assert ingest.status == "SUCCEEDED"
    assert len(imports) == 20
    assert len(ingest.history) < EVENTS_MAX // 4
    assert len(json.dumps(slices)) < 256 * 1024 // 2
    (parallel,) = [details for details in ingest.of_type("ParallelStateExited") if details["name"] == "IndexAndImport"]
    assert json.loads(parallel["output"]) == {"indexed": 100_000, "imported": 2000}


def test_a_job_that_never_ends_times_out_within_the_limit_of_history() -> None:
    _, (child,) = Pipeline(statuses=itertools.repeat("IN_PROGRESS")).run()
    assert child.status == "TIMED_OUT"
    assert len(child.history) < EVENTS_MAX * 2 // 3


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_every_task_has_a_timeout_retries_and_full_jitter(machine: str) -> None:
    for name, state in states_of(json.loads(workflows.definition(machine))):
        if state["Type"] != "Task":
            continue
        assert state["Retry"], name
        if name != "ImportPart":  # ends with its child, which has a timeout of its own
            assert "TimeoutSeconds" in state, name
        for retrier in state["Retry"]:
            if retrier["ErrorEquals"] != ["Import.OutputsMissing"]:
                assert retrier["JitterStrategy"] == "FULL", name
            assert {"States.ALL", "States.TaskFailed"}.isdisjoint(retrier["ErrorEquals"]), name


def test_no_failure_of_ingest_is_caught_so_that_a_redrive_resumes_where_it_happened() -> None:
    for name, state in states_of(json.loads(workflows.definition("ingest"))):
        assert "Catch" not in state, name
        assert state["Type"] != "Fail", name
