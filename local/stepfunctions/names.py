"""Names, ARNs, and how AWS describes an execution in the places outside its API: status change events, `.sync:2` results.

Sources: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html and the API reference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.aws import ACCOUNT, REGION
from local.stepfunctions import redrive
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
    redriven_at = execution.redriven_at
    redrive_status, redrive_reason = redrive_status_of(execution, last, last.at)
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
        "redriveCount": len(execution.redrives),
        "redriveDate": None if redriven_at is None else int(redriven_at * 1000),
        "redriveStatus": redrive_status,
        "redriveStatusReason": redrive_reason,
    }


def redrive_status_of(execution: Execution, last: Event, now: float) -> tuple[str, str | None]:
    """redriveStatus, and redriveStatusReason where it has one."""
    reason = redrive.obstacle(execution, last.id, now)
    return ("REDRIVABLE" if reason is None else "NOT_REDRIVABLE"), reason


def child_description(execution: Execution, first: Event, last: Event) -> dict[str, Any]:
    """DescribeExecution in PascalCase, as `startExecution.sync:2` gives it to the parent (its Cause, when it failed)."""
    status, reason = redrive_status_of(execution, last, last.at)
    description: dict[str, Any] = {
        "ExecutionArn": execution.arn,
        "Input": first.details["input"],
        "InputDetails": {"Included": True},
        "Name": execution.name,
        "RedriveCount": len(execution.redrives),
        "RedriveStatus": status,
        "StartDate": int(execution.started_at * 1000),
        "StateMachineArn": execution.machine_arn,
        "Status": execution.status,
        "StopDate": int((execution.stopped_at or 0) * 1000),
    }
    if reason is not None:
        description["RedriveStatusReason"] = reason
    if execution.redriven_at is not None:
        description["RedriveDate"] = int(execution.redriven_at * 1000)
    if "output" in last.details:
        description |= {"Output": last.details["output"], "OutputDetails": {"Included": True}}
    for key in ("error", "cause"):
        if key in last.details:
            description[key.capitalize()] = last.details[key]
    return description
