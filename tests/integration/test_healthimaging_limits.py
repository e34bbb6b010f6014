"""The HealthImaging emulator refuses what the service refuses: fields, rates, quotas, limits."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.healthimaging.launch import HealthImaging
from local.processes import free_port
from tests.support.healthimaging import ROLE, Imports, part10

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.ministack import MiniStack


def error_of(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return raised.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("datastoreId", "A" * 32),
        ("dataAccessRoleArn", "arn:aws:iam::12:role/too-short-an-account"),
        ("clientToken", "with space"),
        ("clientToken", "x" * 65),
        ("inputS3Uri", "https://bucket/in/"),
        ("inputS3Uri", "s3://B/in/"),
        ("outputS3Uri", "s3://bucket/" + "x" * 1024),
        ("jobName", "name with space"),
        ("jobName", "x" * 65),
        ("inputOwnerAccountId", "12345678901x"),
    ],
)
def test_a_field_that_breaks_its_rule_is_refused_without_its_value(imports: Imports, field: str, value: str) -> None:
    request: dict[str, Any] = {
        "datastoreId": imports.datastore_id,
        "dataAccessRoleArn": ROLE,
        "clientToken": "t",
        "inputS3Uri": "s3://bucket/in/",
        "outputS3Uri": "s3://bucket/out/",
    }
    with pytest.raises(ClientError) as raised:
        imports.client.start_dicom_import_job(**request | {field: value})
    assert error_of(raised) == "ValidationException"
    message = raised.value.response["Error"]["Message"]
    assert f"'{field}'" in message
    assert value not in message


@pytest.mark.parametrize("page_size", ["0", "51", "many"])
def test_a_page_size_out_of_range_is_refused(imports: Imports, page_size: str) -> None:
    assert raw(imports, "GET", f"/listDICOMImportJobs/datastore/{imports.datastore_id}?maxResults={page_size}") == (
        400,
        "ValidationException",
    )


def test_a_body_that_is_not_json_and_an_operation_that_is_not_there_are_refused(imports: Imports) -> None:
    path = f"/startDICOMImportJob/datastore/{imports.datastore_id}"
    assert raw(imports, "POST", path, b"{") == (400, "SerializationException")
    assert raw(imports, "POST", path, b"{}") == (400, "ValidationException")
    assert raw(imports, "GET", "/nothing/here") == (404, "UnknownOperationException")


def raw(imports: Imports, method: str, path: str, body: bytes = b"") -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(imports.emulator.endpoint_url.removeprefix("http://"), timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    assert json.loads(answer.read())["message"]
    assert answer.headers["x-amzn-RequestId"]
    connection.close()
    return answer.status, answer.headers["x-amzn-ErrorType"]


def test_what_does_not_exist_is_not_found(imports: Imports) -> None:
    calls: list[Callable[[], object]] = [
        lambda: imports.client.get_datastore(datastoreId="f" * 32),
        lambda: imports.client.get_dicom_import_job(datastoreId=imports.datastore_id, jobId="f" * 32),
        lambda: imports.client.get_image_set(datastoreId=imports.datastore_id, imageSetId="f" * 32),
        lambda: imports.client.list_dicom_import_jobs(datastoreId="f" * 32),
    ]
    for call in calls:
        with pytest.raises(ClientError) as raised:
            call()
        assert error_of(raised) == "ResourceNotFoundException"


@pytest.fixture(scope="module")
def strict(ministack: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealthImaging]:
    """An emulator with the service's own rate of starts, and small quotas."""
    options = [
        "--job-seconds",
        "0",
        "--job-max-files",
        "2",
        "--job-max-bytes",
        "100",
        "--job-max-folders",
        "1",
        "--concurrent-jobs",
        "2",
    ]
    options += ["--rate", "all=1000/1000", "--rate", "ListDatastores=0.001/2"]
    with HealthImaging.start(
        tmp_path_factory.mktemp("strict"),
        free_port(),
        s3_endpoint=ministack.endpoint_url,
        datastore_id="0" * 32,
        options=options,
    ) as emulator:
        yield emulator


@pytest.fixture
def strict_imports(strict: HealthImaging, ministack: MiniStack, bucket: str) -> Iterator[Imports]:
    imports = Imports(strict, ministack.aws.s3, bucket)
    yield imports
    imports.ask_for()


def test_objects_with_which_an_image_set_would_have_too_much_metadata_are_refused_and_the_set_stays_as_it_was(
    ministack: MiniStack, bucket: str, tmp_path: Path
) -> None:
    options = ["--job-seconds", "0", "--rate", "all=1000/1000", "--image-set-max-metadata-bytes", "150"]
    with HealthImaging.start(
        tmp_path, free_port(), s3_endpoint=ministack.endpoint_url, datastore_id="0" * 32, options=options
    ) as emulator:
        imports = Imports(emulator, ministack.aws.s3, bucket)
        first = imports.run({"1.dcm": part10(SOPInstanceUID="1.1")}, "first/")
        [kept] = first.summary["imageSetsSummary"]
        too_much = {f"{number}.dcm": part10(SOPInstanceUID=f"2.{number}") for number in range(4)}
        outputs = imports.run(too_much | {"other.dcm": part10(SeriesInstanceUID="9.9")}, "more/")
        assert {line["inputFile"] for line in outputs.failure or []} == {f"more/{name}" for name in too_much}
        assert {line["exception"]["exceptionType"] for line in outputs.failure or []} == {"ValidationException"}
        assert outputs.summary["numberOfFilesWithCustomerError"] == 4
        assert [line["inputFile"] for line in outputs.success or []] == ["more/other.dcm"]
        found = imports.client.get_image_set(datastoreId=imports.datastore_id, imageSetId=kept["imageSetId"])
        assert found["versionId"] == "1"
        again = imports.run({"1.dcm": part10(SOPInstanceUID="1.1")}, "first/")  # in place of the copy before it
        assert [one["imageSetVersion"] for one in again.summary["imageSetsSummary"]] == [2]


def test_calls_beyond_the_burst_are_throttled(strict_imports: Imports) -> None:
    for _ in range(2):
        strict_imports.client.list_datastores()
    with pytest.raises(ClientError) as raised:
        strict_imports.client.list_datastores()
    assert error_of(raised) == "ThrottlingException"


def test_jobs_beyond_the_quota_of_their_data_store_are_refused(strict_imports: Imports) -> None:
    strict_imports.ask_for(job_seconds=600)
    for _ in range(2):
        strict_imports.start()
    with pytest.raises(ClientError) as raised:
        strict_imports.start()
    assert error_of(raised) == "ServiceQuotaExceededException"
    elsewhere = strict_imports.client.create_datastore(clientToken=uuid4().hex)["datastoreId"]
    strict_imports.datastore_id = elsewhere
    strict_imports.ask_for()
    assert strict_imports.wait(strict_imports.start())["jobStatus"] == "COMPLETED"


@pytest.mark.parametrize(
    ("objects", "limit"),
    [
        ({"a": b"", "b": b"", "c": b""}, "FILE_COUNTS_LIMIT"),
        ({"a": b"x" * 101}, "FILE_SIZE_LIMIT"),
        ({"a/a": b"", "b/b": b""}, "FOLDER_COUNTS_LIMIT"),
    ],
)
def test_a_job_over_a_limit_starts_and_then_fails_by_name(
    strict_imports: Imports, objects: dict[str, bytes], limit: str
) -> None:
    strict_imports.put(objects)
    job = strict_imports.wait(strict_imports.start())
    assert job["jobStatus"] == "FAILED"
    assert job["message"].startswith(f"DICOM import job has failed.\n{limit}")
