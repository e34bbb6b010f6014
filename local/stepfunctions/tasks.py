"""Carries out Tasks against AWS-shaped endpoints: Lambda's, and HealthImaging's.

Errors get the names that Step Functions gives them on AWS:
- what a function raised: the exception's class name, with Lambda's JSON (`errorMessage`, `errorType`, ...) as Cause;
- what the service answered: `Lambda.TooManyRequestsException`, `MedicalImaging.ThrottlingException`;
- what never got an answer: `Lambda.SdkClientException`, `MedicalImaging.SdkClientException`.

Nothing is retried here: that is the state machine's part.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from local.aws import service_model
from local.stepfunctions import resources
from local.stepfunctions.context import timestamp_text
from local.stepfunctions.errors import RUNTIME, TaskError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

    from local.aws import Aws
    from local.stepfunctions.expressions import Json

_UNNAMED = "Runtime.HandlerError"  # what the AWS emulator says whatever the function raised
_LAMBDA_FALLBACKS = ("AWSLambdaException", "ServiceException")  # of an error that the model does not have: 4xx, 5xx
_MEDICAL_IMAGING_FALLBACKS = ("MedicalImagingException", "MedicalImagingException")
_EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]*(?=:|$)")


class AwsTasks:
    """An engine's invoker. Without `medical_imaging`, its operations fail as an endpoint would that is down."""

    def __init__(self, functions: Aws, medical_imaging: Aws | None = None) -> None:
        self._functions = functions.functions  # made now: making clients is not safe in several threads at once
        self._medical_imaging = None if medical_imaging is None else medical_imaging.medical_imaging

    def __call__(self, resource: str, arguments: Json) -> Json:
        """Raises TaskError."""
        if resource == resources.LAMBDA:
            return self._invoke_function(arguments)
        return self._call_medical_imaging(resource.removeprefix(resources.MEDICAL_IMAGING), arguments)

    def _invoke_function(self, arguments: dict[str, Json]) -> Json:
        payload = json.dumps(arguments.get("Payload", {})).encode()
        try:
            answer = self._functions.invoke(FunctionName=arguments["FunctionName"], Payload=payload, LogType="Tail")
            body = answer["Payload"].read().decode()
        except (ClientError, BotoCoreError) as error:
            raise _service_error(
                "Lambda", _LAMBDA_FALLBACKS, service_model("lambda").operation_model("Invoke"), error
            ) from error
        if answer.get("FunctionError"):
            raise function_error(body, base64.b64decode(answer.get("LogResult", "")).decode(errors="replace"))
        return {
            "ExecutedVersion": answer.get("ExecutedVersion", "$LATEST"),
            "Payload": _json_or_text(body),
            "SdkHttpMetadata": {"HttpStatusCode": answer["StatusCode"]},
            "SdkResponseMetadata": {"RequestId": answer["ResponseMetadata"].get("RequestId", "")},
            "StatusCode": answer["StatusCode"],
        }

    def _call_medical_imaging(self, action: str, arguments: dict[str, Json]) -> Json:
        operation = resources.medical_imaging_operations()[action]
        if self._medical_imaging is None:
            raise TaskError("MedicalImaging.SdkClientException", "the engine was started without --medical-imaging-endpoint")
        call = getattr(self._medical_imaging, xform_name(operation.name))
        try:
            answer = call(**_from_pascal(arguments, operation.input_shape))
        except ParamValidationError as error:
            raise TaskError(RUNTIME, f"The Arguments do not fit the operation {action}: {error}") from error
        except (ClientError, BotoCoreError) as error:
            raise _service_error("MedicalImaging", _MEDICAL_IMAGING_FALLBACKS, operation, error) from error
        answer.pop("ResponseMetadata", None)
        return _to_pascal(answer, operation.output_shape)


def function_error(body: str, log_tail: str) -> TaskError:
    """The error that a function raised, by its class. `log_tail` is the end of its log, with the traceback.

    Functions name some exceptions with a dot (`Ingest.Incomplete`); modules are in lower case (PEP 8). So of
    `lambdas.errors.Ingest.Incomplete` the name begins at the first segment with a capital.
    """
    payload = _json_or_text(body)
    if not isinstance(payload, dict):
        return TaskError("Lambda.Unknown", body)
    message = str(payload.get("errorMessage", ""))
    error = str(payload.get("errorType", "Lambda.Unknown"))
    if error == _UNNAMED:
        error = "Runtime.ExitError" if message == "Worker process died" else _raised_class(log_tail, message) or error
        payload["errorType"] = error
    return TaskError(error, json.dumps(payload, ensure_ascii=False))


def _raised_class(log_tail: str, message: str) -> str | None:
    """The class in the last lines of a traceback, `module.Class: message`, whose message may have lines of its own."""
    text = log_tail.rstrip()
    ending = f": {message}".rstrip()
    if message and text.endswith(ending):
        text = text[: -len(ending)]
    for line in reversed(text.splitlines()):
        found = _EXCEPTION_LINE.match(line)
        if found is None:
            continue
        segments = found.group().split(".")
        for index, segment in enumerate(segments):
            if segment[:1].isupper():
                return ".".join(segments[index:])
    return None


def _service_error(
    service: str, fallbacks: tuple[str, str], operation: OperationModel, error: ClientError | BotoCoreError
) -> TaskError:
    """What the SDK raised, by the name of the service's exception; the SDK's base class where the model has none."""
    if not isinstance(error, ClientError):
        return TaskError(f"{service}.SdkClientException", f"{type(error).__name__}: {error}")
    answer: Any = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    request_id = answer.get("ResponseMetadata", {}).get("RequestId", "")
    code = str(answer.get("Error", {}).get("Code", ""))
    if code not in {shape.name for shape in operation.error_shapes}:
        code = fallbacks[status >= 500]
    message = answer.get("Error", {}).get("Message", "")
    return TaskError(f"{service}.{code}", f"{message} (Service: {service}, Status Code: {status}, Request ID: {request_id})")


def _json_or_text(body: str) -> Json:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _from_pascal(value: Json, shape: Shape | None) -> Any:
    """Step Functions' names to the SDK's, member by member. Unknown names stay: the SDK's validation tells them."""
    if shape is None:
        return value
    kind: Any = shape
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {resources.pascal(name): (name, member) for name, member in kind.members.items()}
        renamed = {}
        for key, item in value.items():
            name, member = members.get(key, (key, None))
            renamed[name] = _from_pascal(item, member)
        return renamed
    if shape.type_name == "list" and isinstance(value, list):
        return [_from_pascal(item, kind.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _from_pascal(item, kind.value) for key, item in value.items()}
    return value


def _to_pascal(value: Any, shape: Shape | None) -> Json:
    kind: Any = shape
    if isinstance(value, datetime):
        return timestamp_text(value.timestamp())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_to_pascal(item, kind and kind.member) for item in value]
    if isinstance(value, dict) and kind is not None and kind.type_name == "structure":
        return {resources.pascal(key): _to_pascal(item, kind.members.get(key)) for key, item in value.items()}
    if isinstance(value, dict):
        return {key: _to_pascal(item, kind and kind.value) for key, item in value.items()}
    return value
