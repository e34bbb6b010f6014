"""Names, ARNs, and how AWS describes an execution in the places outside its API: status change events, `.sync:2` results.

Sources: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html and the API reference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.aws import ACCOUNT, REGION
from local.stepfunctions.errors import ApiError

if TYPE_CHECKING:
    from local.stepfunctions.execution import Execution
    from local.stepfunctions.log import Event

ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/local"

_FORBIDDEN = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff]")


def check_name(name: object) -> None:
    """Raises ApiError InvalidName (CreateStateMachine, "name"): 1 to 80 characters, without those that AWS forbids."""
    if not isinstance(name, str) or not 1 <= len(name) <= 80 or _FORBIDDEN.search(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")


def machine_arn(name: str) -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"


def execution_arn(machine: str, name: str) -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{machine}:{name}"


def service_text(service: str, error: ApiError) -> str:
    """What an optimized integration says of a service's refusal."""
    return (
        f"{error.message} (Service: {service}; Status Code: 400; Error Code: {error.code}; Request ID: {uuid4()}; Proxy: null)"
    )


def status_detail(execution: Execution, first: Event, last: Event) -> dict[str, Any]:
    """The `detail` of "Step Functions Execution Status Change". Absent values are null, as AWS sends them."""
    stopped_at = execution.stopped_at
    output = last.details.get("output") if last.type == "ExecutionSucceeded" else None
    ended = execution.status != "RUNNING"
    return {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": int(execution.started_at * 1000),
        "stopDate": None if stopped_at is None else int(stopped_at * 1000),
        "input": first.details["input"],
        "inputDetails": {"included": True},
        "output": output,
        "outputDetails": None if output is None else {"included": True},
        "error": last.details.get("error") if ended else None,
        "cause": last.details.get("cause") if ended else None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": redrive_status(execution)[0],
        "redriveStatusReason": redrive_status(execution)[1],
    }


def redrive_status(execution: Execution) -> tuple[str, str | None]:
    if execution.status in ("RUNNING", "SUCCEEDED"):
        return "NOT_REDRIVABLE", f"Execution is {execution.status} and cannot be redriven"
    return "REDRIVABLE", None


def child_description(execution: Execution, first: Event, last: Event) -> dict[str, Any]:
    """DescribeExecution in PascalCase, as `startExecution.sync:2` gives it to the parent (its Cause, when it failed)."""
    redrive, reason = redrive_status(execution)
    description: dict[str, Any] = {
        "ExecutionArn": execution.arn,
        "Input": first.details["input"],
        "InputDetails": {"Included": True},
        "Name": execution.name,
        "RedriveCount": 0,
        "RedriveStatus": redrive,
        "StartDate": int(execution.started_at * 1000),
        "StateMachineArn": execution.machine_arn,
        "Status": execution.status,
        "StopDate": int((execution.stopped_at or 0) * 1000),
    }
    if reason is not None:
        description["RedriveStatusReason"] = reason
    if "output" in last.details:
        description |= {"Output": last.details["output"], "OutputDetails": {"Included": True}}
    for key in ("error", "cause"):
        if key in last.details:
            description[key.capitalize()] = last.details[key]
    return description
