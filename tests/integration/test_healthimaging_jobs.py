"""Import jobs of the HealthImaging emulator: from SUBMITTED to outputs in S3, true to the service's documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from local.healthimaging.causes import WARNING_CODES
from local.healthimaging.launch import HealthImaging
from local.processes import free_port
from tests.support.healthimaging import ROLE, Imports, part10, request_fault

if TYPE_CHECKING:
    from pathlib import Path

    from local.ministack import MiniStack


def error_of(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return raised.value.response["Error"]["Code"]


def test_every_object_is_a_success_or_a_failure_with_its_cause(imports: Imports) -> None:
    outputs = imports.run(
        {
            "good.dcm": part10(),
            "nested/deeper/good-too": part10(),
            "text.txt": b"not DICOM at all",
            "empty": b"",
            "no-syntax.dcm": part10(transfer_syntax=None),
            "no-study.dcm": part10(without=("StudyInstanceUID",)),
            "long-name.dcm": part10(PatientName="x" * 257),
        }
    )
    assert outputs.success is not None
    assert outputs.failure is not None
    assert {line["inputFile"] for line in outputs.success} == {"in/good.dcm", "in/nested/deeper/good-too"}
    assert {line["inputFile"]: line["exception"] for line in outputs.failure} == {
        f"in/{name}": {"exceptionType": "ValidationException", "message": message}
        for name, message in {
            "text.txt": "DICOM attributes does not exist",
            "empty": "DICOM attributes does not exist",
            "no-syntax.dcm": "DICOM attribute TransferSyntaxUID does not exist",
            "no-study.dcm": "DICOM attribute StudyInstanceUID does not exist",
            "long-name.dcm": "DICOM attribute PatientName is longer than 256 characters",
        }.items()
    }


def test_the_manifest_adds_up_and_names_its_folders(imports: Imports) -> None:
    imports.put({"a.dcm": part10(), "b.dcm": part10(SeriesInstanceUID="1.2.3.5"), "c.txt": b"text", "d.dcm": part10()})
    imports.ask_for(keys=[{"suffix": "d.dcm", "error": "server"}])
    job_id = imports.start()
    job = imports.wait(job_id)
    folder = f"s3://{imports.bucket}/out/{imports.datastore_id}-DicomImport-{job_id}/"
    outputs = imports.outputs(job_id)
    sets = outputs.summary.pop("imageSetsSummary")
    assert job["outputS3Uri"] == folder
    assert outputs.summary == {
        "jobId": job_id,
        "datastoreId": imports.datastore_id,
        "inputS3Uri": f"s3://{imports.bucket}/in/",
        "outputS3Uri": folder,
        "successOutputS3Uri": f"{folder}SUCCESS/",
        "failureOutputS3Uri": f"{folder}FAILURE/",
        "warningsOutputS3Uri": f"{folder}WARNING/",
        "numberOfScannedFiles": 4,
        "numberOfImportedFiles": 2,
        "numberOfFilesWithCustomerError": 1,
        "numberOfFilesWithServerError": 1,
        "numberOfGeneratedImageSets": 2,
    }
    assert [(item["imageSetVersion"], item["isPrimary"], item["numberOfMatchedSOPInstances"]) for item in sets] == [
        (1, True, 1),
        (1, True, 1),
    ]
    assert outputs.success is not None
    assert {line["importResponse"]["imageSetId"] for line in outputs.success} == {item["imageSetId"] for item in sets}


def test_a_category_without_lines_has_no_file(imports: Imports) -> None:
    outputs = imports.run({"a.dcm": part10()})
    assert outputs.failure is None
    assert outputs.warning is None
    assert outputs.success is not None


def test_a_warned_object_is_imported_and_its_warning_names_the_cause(imports: Imports) -> None:
    outputs = imports.run({"private.dcm": part10(transfer_syntax="1.2.276.0.7230010.3.1.9.9")})
    assert outputs.summary["numberOfImportedFiles"] == 1
    assert outputs.warning is not None
    (line,) = outputs.warning
    assert line["inputFile"] == "in/private.dcm"
    assert line["importResponse"]["isPrimary"] is True
    assert [(item["warning_reason_code"], item["type"]) for item in line["importResponse"]["warnings"]] == [
        (45344, "UnsupportedTransferSyntax")
    ]


def test_a_header_that_is_longer_than_the_first_read_is_read_on(imports: Imports) -> None:
    outputs = imports.run({"long.dcm": part10(LongCodeValue="x" * 300_000)})
    assert outputs.summary["numberOfImportedFiles"] == 1


def test_a_prefix_without_objects_completes_with_nothing(imports: Imports) -> None:
    assert imports.run({}).summary["numberOfScannedFiles"] == 0


def test_a_bucket_that_is_not_there_fails_the_job(imports: Imports) -> None:
    job_id = imports.client.start_dicom_import_job(
        datastoreId=imports.datastore_id,
        dataAccessRoleArn=ROLE,
        clientToken="t",
        inputS3Uri="s3://no-such-bucket/in/",
        outputS3Uri=f"s3://{imports.bucket}/out/",
    )["jobId"]
    job = imports.wait(job_id)
    assert job["jobStatus"] == "FAILED"
    assert job["message"].startswith("DICOM import job has failed.\n")


def test_jobs_are_listed_by_status_in_pages_without_their_uris(imports: Imports) -> None:
    ids = {imports.start("nothing/") for _ in range(3)}
    for job_id in ids:
        imports.wait(job_id)
    paginator = imports.client.get_paginator("list_dicom_import_jobs")
    pages = list(paginator.paginate(datastoreId=imports.datastore_id, jobStatus="COMPLETED", PaginationConfig={"PageSize": 2}))
    assert [len(page["jobSummaries"]) for page in pages] == [2, 1]
    assert {job["jobId"] for page in pages for job in page["jobSummaries"]} == ids
    listed = imports.client.list_dicom_import_jobs(datastoreId=imports.datastore_id, jobStatus="FAILED")["jobSummaries"]
    assert listed == []


class TestClientToken:
    def test_the_same_request_again_is_the_same_job(self, imports: Imports) -> None:
        assert imports.start(token="t-1") == imports.start(token="t-1")
        jobs = imports.client.list_dicom_import_jobs(datastoreId=imports.datastore_id)["jobSummaries"]
        assert len(jobs) == 1

    def test_another_request_is_a_conflict(self, imports: Imports) -> None:
        imports.start(token="t-1")
        with pytest.raises(ClientError) as raised:
            imports.start("other/", token="t-1")
        assert error_of(raised) == "ConflictException"


class TestFaultsOnDemand:
    def test_the_next_starts_are_refused_by_name(self, imports: Imports) -> None:
        imports.ask_for(requests=[request_fault("ThrottlingException", 2)])
        for _ in range(2):
            with pytest.raises(ClientError) as raised:
                imports.start()
            assert error_of(raised) == "ThrottlingException"
        assert imports.wait(imports.start())["jobStatus"] == "COMPLETED"

    def test_a_start_whose_answer_is_lost_has_made_its_job(self, imports: Imports) -> None:
        imports.ask_for(requests=[request_fault("InternalServerException", carried_out=True)])
        with pytest.raises(ClientError) as raised:
            imports.start(token="t-1")
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        (job,) = imports.client.list_dicom_import_jobs(datastoreId=imports.datastore_id)["jobSummaries"]
        assert imports.start(token="t-1") == job["jobId"]

    def test_any_operation_may_meet_a_fault(self, imports: Imports) -> None:
        job_id = imports.start()
        imports.ask_for(requests=[request_fault("InternalServerException", operation="GetDICOMImportJob")])
        with pytest.raises(ClientError) as raised:
            imports.job(job_id)
        assert error_of(raised) == "InternalServerException"
        assert imports.wait(job_id)["jobStatus"] == "COMPLETED"

    def test_outputs_may_be_missing(self, imports: Imports) -> None:
        imports.ask_for(missing_outputs=["SUCCESS/success.ndjson"])
        outputs = imports.run({"a.dcm": part10()})
        assert outputs.success is None
        assert outputs.summary["numberOfImportedFiles"] == 1

    def test_every_warning_may_be_asked_for(self, imports: Imports) -> None:
        imports.ask_for(keys=[{"suffix": f"{name}.dcm", "error": name} for name in WARNING_CODES])
        outputs = imports.run({f"{name}.dcm": part10() for name in WARNING_CODES})
        assert outputs.warning is not None
        told = [warning for line in outputs.warning for warning in line["importResponse"]["warnings"]]
        assert {warning["type"]: warning["warning_reason_code"] for warning in told} == WARNING_CODES

    def test_the_next_job_fails_and_leaves_no_outputs(self, imports: Imports) -> None:
        imports.put({"a.dcm": part10()})
        imports.ask_for(failing_jobs=1)
        failed = imports.start()
        assert imports.wait(failed)["jobStatus"] == "FAILED"
        with pytest.raises(imports.s3.exceptions.NoSuchKey):
            imports.outputs(failed)
        assert imports.wait(imports.start())["jobStatus"] == "COMPLETED"

    def test_a_server_error_that_happens_once_is_gone_at_the_next_import(self, imports: Imports) -> None:
        imports.ask_for(keys=[{"suffix": "a.dcm", "error": "server", "times": 1}])
        first = imports.run({"a.dcm": part10()})
        assert first.failure is not None
        assert first.failure[0]["exception"]["exceptionType"] == "InternalServerException"
        assert imports.run({}).failure is None

    def test_outputs_may_come_after_the_job_has_completed(self, imports: Imports) -> None:
        imports.put({"a.dcm": part10()})
        imports.ask_for(outputs_late_seconds=600)
        job_id = imports.start()
        assert imports.wait(job_id)["jobStatus"] == "COMPLETED"
        with pytest.raises(imports.s3.exceptions.NoSuchKey):
            imports.outputs(job_id)

    def test_a_slow_job_is_seen_on_its_way(self, imports: Imports) -> None:
        imports.ask_for(job_seconds=600)
        assert imports.job(imports.start())["jobStatus"] in {"SUBMITTED", "IN_PROGRESS"}


def test_jobs_that_a_kill_cut_off_end_as_if_nothing_had_happened_and_sigterm_leaves_the_rest_for_later(
    ministack: MiniStack, bucket: str, tmp_path: Path
) -> None:
    def start() -> HealthImaging:
        options = ["--job-seconds", "0", "--rate", "all=1000/1000"]
        return HealthImaging.start(
            tmp_path, free_port(), s3_endpoint=ministack.endpoint_url, datastore_id="1" * 32, options=options
        )

    emulator = start()
    try:
        imports = Imports(emulator, ministack.aws.s3, bucket)
        first = imports.run({"a.dcm": part10()}, "one/")
        imports.ask_for(outputs_late_seconds=1)
        late = imports.start("one/")
        imports.wait(late)  # its image set is placed, its outputs are not written
        imports.ask_for(job_seconds=1)
        imports.put({"b.dcm": part10()}, "two/")
        cut_off = imports.start("two/", token="cut-off")
    finally:
        emulator.process.kill()
    with start() as again:
        imports.connect(again)
        assert imports.start("two/", token="cut-off") == cut_off
        assert imports.wait(cut_off)["jobStatus"] == "COMPLETED"
        jobs = [first, imports.outputs_once_written(late), imports.outputs(cut_off)]
        versions = [item["imageSetVersion"] for job in jobs for item in job.summary["imageSetsSummary"]]
        assert versions == [1, 2, 3]  # none was placed twice
        imports.ask_for(job_seconds=600)
        imports.start()
        again.process.stop()
        assert again.process.wait() == 0
