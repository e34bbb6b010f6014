"""Tasks against AWS-shaped endpoints: results, and the names that errors have on AWS."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from local.aws import Aws
from local.processes import free_port
from local.stepfunctions import TaskError
from local.stepfunctions.resources import LAMBDA, MEDICAL_IMAGING
from local.stepfunctions.tasks import AwsTasks, function_error
from tests.support.aws_endpoint import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE = """START
Traceback (most recent call last):
  File "/tmp/x.py", line 1, in handler
    raise X
{last}
"""


@pytest.mark.parametrize(
    ("last", "message", "error"),
    [
        ("lambdas.errors.Ingest.Incomplete: 3 of 7", "3 of 7", "Ingest.Incomplete"),
        ("pymysql.err.OperationalError: (1213, 'Deadlock')", "(1213, 'Deadlock')", "OperationalError"),
        ("KeyError: 'x'", "'x'", "KeyError"),
        ("lambdas.errors.Catalog.Unavailable", "", "Catalog.Unavailable"),
        ("m.Refused: first line\nsecond: Line\n\nlast", "first line\nsecond: Line\n\nlast", "Refused"),
        ("m.Refused: first line\nAnd a note", "first line", "Refused"),
        ("__main__.ValueError: x: y", "x: y", "ValueError"),
    ],
)
def test_the_class_of_an_exception_is_read_from_the_traceback(last: str, message: str, error: str) -> None:
    body = json.dumps({"errorMessage": message, "errorType": "Runtime.HandlerError"})
    failed = function_error(body, TRACE.format(last=last))
    assert failed.error == error
    assert json.loads(str(failed.cause)) == {"errorMessage": message, "errorType": error}


def test_an_error_type_that_lambda_names_is_kept() -> None:
    body = {"errorMessage": "Task timed out after 3.00 seconds", "errorType": "Sandbox.Timedout"}
    assert function_error(json.dumps(body), "Task timed out").error == "Sandbox.Timedout"
    assert function_error(
        json.dumps({"errorMessage": "Worker process died", "errorType": "Runtime.HandlerError"}), ""
    ).error == ("Runtime.ExitError")
    assert (
        function_error(json.dumps({"errorMessage": "?", "errorType": "Runtime.HandlerError"}), "").error
        == "Runtime.HandlerError"
    )


@pytest.mark.parametrize(
    ("status", "name", "error"),
    [
        (404, "ResourceNotFoundException", "Lambda.ResourceNotFoundException"),
        (429, "TooManyRequestsException", "Lambda.TooManyRequestsException"),
        (500, "ServiceException", "Lambda.ServiceException"),
        (503, "", "Lambda.ServiceException"),
        (403, "AccessDeniedException", "Lambda.AWSLambdaException"),
    ],
)
def test_what_lambda_itself_answers_has_its_exceptions_name(status: int, name: str, error: str) -> None:
    with AwsEndpoint(lambda *_: (status, {"x-amzn-ErrorType": name}, {"message": "no"})) as endpoint:
        with pytest.raises(TaskError) as failed:
            AwsTasks(Aws(endpoint.url))(LAMBDA, {"FunctionName": "F"})
        assert failed.value.error == error
        assert len(endpoint.requests) == 1, "the state machine retries, not the client"


def test_an_endpoint_that_is_down_is_a_client_error() -> None:
    nobody = Aws(f"http://127.0.0.1:{free_port()}")
    for resource, arguments, error in (
        (LAMBDA, {"FunctionName": "F"}, "Lambda.SdkClientException"),
        (f"{MEDICAL_IMAGING}listDatastores", {}, "MedicalImaging.SdkClientException"),
    ):
        with pytest.raises(TaskError) as failed:
            AwsTasks(nobody, nobody)(resource, arguments)
        assert failed.value.error == error


def imaging(endpoint: AwsEndpoint) -> Callable[[str, Any], Any]:
    tasks = AwsTasks(Aws(endpoint.url), Aws(endpoint.url))
    return lambda operation, arguments: tasks(f"{MEDICAL_IMAGING}{operation}", arguments)


def test_an_operation_of_healthimaging_has_pascal_case_and_iso_timestamps() -> None:
    answer = {"jobProperties": {"jobId": "j", "jobName": "n", "jobStatus": "COMPLETED", "submittedAt": 1_800_000_000.5}}
    with AwsEndpoint(lambda *_: (200, {}, answer)) as endpoint:
        result = imaging(endpoint)("getDICOMImportJob", {"DatastoreId": "d" * 32, "JobId": "j" * 32})
        assert result == {
            "JobProperties": {
                "JobId": "j",
                "JobName": "n",
                "JobStatus": "COMPLETED",
                "SubmittedAt": "2027-01-15T08:00:00.500Z",
            }
        }
        assert endpoint.requests == [("GET", f"/getDICOMImportJob/datastore/{'d' * 32}/job/{'j' * 32}", None)]


@pytest.mark.parametrize(
    ("status", "name", "error"),
    [
        (429, "ThrottlingException", "MedicalImaging.ThrottlingException"),
        (400, "ValidationException", "MedicalImaging.ValidationException"),
        (500, "Strange", "MedicalImaging.MedicalImagingException"),
    ],
)
def test_what_healthimaging_answers_has_its_exceptions_name(status: int, name: str, error: str) -> None:
    with AwsEndpoint(lambda *_: (status, {"x-amzn-ErrorType": name}, {"message": "no"})) as endpoint:
        with pytest.raises(TaskError) as failed:
            imaging(endpoint)("getDICOMImportJob", {"DatastoreId": "d", "JobId": "j"})
        assert failed.value.error == error
        assert f"(Service: MedicalImaging, Status Code: {status}, Request ID: " in str(failed.value.cause)


def test_arguments_that_do_not_fit_the_operation_cannot_be_caught() -> None:
    with AwsEndpoint(lambda *_: (200, {}, {})) as endpoint, pytest.raises(TaskError) as failed:
        imaging(endpoint)("getDICOMImportJob", {"DatastoreId": 3, "JobId": "j"})
    assert failed.value.error == "States.Runtime"


HANDLER = """
class Base(Exception):
    pass

Incomplete = type("Ingest.Incomplete", (Base,), {"__module__": "lambdas.errors"})

def handler(event, context):
    if event == "raise":
        raise Incomplete("3 of 7\\nsee the catalog")
    if event == "sleep":
        import time
        time.sleep(30)
    return {"got": event}
"""


def test_the_aws_emulators_lambdas_fail_by_the_class_they_raise(aws: Aws) -> None:
    """The emulator itself says Runtime.HandlerError of everything."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", HANDLER)
    arn = aws.functions.create_function(
        FunctionName="engine-tasks",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/local",
        Handler="index.handler",
        Timeout=1,
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    tasks = AwsTasks(aws)
    assert tasks(LAMBDA, {"FunctionName": arn, "Payload": [1]})["Payload"] == {"got": [1]}
    errors = {}
    for payload in ("raise", "sleep"):
        with pytest.raises(TaskError) as failed:
            tasks(LAMBDA, {"FunctionName": arn, "Payload": payload})
        errors[payload] = (failed.value.error, json.loads(str(failed.value.cause)))
    assert errors["raise"][0] == "Ingest.Incomplete"
    assert errors["raise"][1]["errorMessage"] == "3 of 7\nsee the catalog"
    assert errors["sleep"][0] == "Sandbox.Timedout"
    with pytest.raises(TaskError) as missing:
        tasks(LAMBDA, {"FunctionName": "engine-missing"})
    assert missing.value.error == "Lambda.ResourceNotFoundException"
