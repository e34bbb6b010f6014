"""The operations of the Step Functions API: requests in, answers out, as JSON objects of AWS's shapes.

Only those that something of ours calls. Timestamps are seconds since the epoch, as the protocol has them.
Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_Operations.html
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from local.stepfunctions import names, requests
from local.stepfunctions.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.stepfunctions.engine import Engine
    from local.stepfunctions.execution import Execution
    from local.stepfunctions.log import Event
    from local.stepfunctions.machines import Machine

Request = dict[str, Any]
Answer = dict[str, Any]

_MACHINE_ARN = re.compile(r"arn:aws[\w-]*:states:[\w-]+:\d{12}:stateMachine:[^:]{1,80}")
_EXECUTION_ARN = re.compile(r"arn:aws[\w-]*:states:[\w-]+:\d{12}:execution:[^:]{1,80}:[^:]{1,80}")
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/.+")
_PAGE = 100


class Operations:
    """`handle(operation, request)` is the whole of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table: dict[str, Callable[[Request], Answer]] = {
            "CreateStateMachine": self._create_state_machine,
            "UpdateStateMachine": self._update_state_machine,
            "DescribeStateMachine": self._describe_state_machine,
            "DescribeStateMachineForExecution": self._describe_state_machine_for_execution,
            "ListStateMachines": self._list_state_machines,
            "StartExecution": self._start_execution,
            "DescribeExecution": self._describe_execution,
            "ListExecutions": self._list_executions,
            "GetExecutionHistory": self._get_execution_history,
            "StopExecution": self._stop_execution,
            "RedriveExecution": self._redrive_execution,
        }

    def handle(self, operation: str, request: Request) -> Answer:
        """Raises ApiError."""
        act = self._table.get(operation)
        if act is None:
            supported = ", ".join(self._table)
            raise ApiError("UnknownOperationException", f"The operation '{operation}' is not supported; supported: {supported}")
        requests.check(operation, request)
        return act(request)

    def _create_state_machine(self, request: Request) -> Answer:
        name, definition, role = request["name"], request["definition"], _arn(request, "roleArn", _ROLE_ARN)
        names.check_name(name)
        if request.get("type", "STANDARD") != "STANDARD":
            raise ApiError("StateMachineTypeNotSupported", "This engine runs STANDARD state machines only.")
        machine = self._engine.create_state_machine(name, definition, role_arn=role)
        return {"stateMachineArn": machine.arn, "creationDate": machine.created_at}

    def _update_state_machine(self, request: Request) -> Answer:
        arn = _arn(request, "stateMachineArn", _MACHINE_ARN)
        if "definition" not in request and "roleArn" not in request:
            raise ApiError("MissingRequiredParameter", "Either the definition or the roleArn must be given.")
        role = _arn(request, "roleArn", _ROLE_ARN) if "roleArn" in request else None
        machine = self._engine.update_state_machine(arn, definition=request.get("definition"), role_arn=role)
        return {"updateDate": machine.updated_at, "revisionId": str(machine.revision)}

    def _describe_state_machine(self, request: Request) -> Answer:
        machine = self._engine.state_machine(_arn(request, "stateMachineArn", _MACHINE_ARN))
        return {
            **_machine(machine),
            "status": "ACTIVE",
            "definition": machine.text,
            "roleArn": machine.role_arn,
            "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
            "tracingConfiguration": {"enabled": False},
            "revisionId": str(machine.revision),
        }

    def _describe_state_machine_for_execution(self, request: Request) -> Answer:
        machine = self._engine.state_machine_of(_arn(request, "executionArn", _EXECUTION_ARN))
        return {
            "stateMachineArn": machine.arn,
            "name": machine.name,
            "definition": machine.text,
            "roleArn": machine.role_arn,
            "updateDate": machine.updated_at,
            "revisionId": str(machine.revision),
        }

    def _list_state_machines(self, request: Request) -> Answer:
        machines = sorted(self._engine.state_machines(), key=lambda each: each.arn)
        after = _token(request)
        page, more = _page([each for each in machines if after is None or each.arn > after], _limit(request))
        return {"stateMachines": [_machine(each) for each in page], **_next(page[-1].arn if more else None)}

    def _start_execution(self, request: Request) -> Answer:
        arn = _arn(request, "stateMachineArn", _MACHINE_ARN)
        name = request.get("name")
        if name is not None:
            names.check_name(name)
        execution = self._engine.start_execution(arn, name=name, input_text=request.get("input", "{}"))
        return {"executionArn": execution.arn, "startDate": execution.started_at}

    def _describe_execution(self, request: Request) -> Answer:
        execution, first, last = self._engine.first_and_last_event(_arn(request, "executionArn", _EXECUTION_ARN))
        status, reason = names.redrive_status_of(execution, last, self._engine.clock.now())
        answer: Answer = {
            **_execution(execution),
            "input": first.details["input"],
            "inputDetails": {"included": True},
            "redriveStatus": status,
        }
        if reason is not None:
            answer["redriveStatusReason"] = reason
        if execution.status == "SUCCEEDED":
            answer |= {"output": last.details["output"], "outputDetails": {"included": True}}
        elif execution.status != "RUNNING":
            answer |= last.details
        return answer

    def _list_executions(self, request: Request) -> Answer:
        """The most recent first: those that run by when they were started or redriven, others by when they ended."""
        wanted = request.get("statusFilter")
        executions = self._engine.executions(_arn(request, "stateMachineArn", _MACHINE_ARN))
        places = {_place(each): each for each in executions if wanted in (None, each.status)}
        token = _token(request)
        after = [place for place in sorted(places, reverse=True) if token is None or place < token]
        page, more = _page(after, _limit(request))
        return {"executions": [_execution(places[place]) for place in page], **_next(page[-1] if more else None)}

    def _get_execution_history(self, request: Request) -> Answer:
        arn = _arn(request, "executionArn", _EXECUTION_ARN)
        reverse = bool(request.get("reverseOrder", False))
        limit = _limit(request)
        last_seen = _number_token(request)
        events = self._engine.history(
            arn,
            after=0 if reverse or last_seen is None else last_seen,
            before=last_seen if reverse else None,
            limit=limit + 1,
            reverse=reverse,
        )
        page, more = _page(events, limit)
        with_data = bool(request.get("includeExecutionData", True))
        told = [history_event(each, with_data=with_data) for each in page]
        return {"events": told, **_next(str(page[-1].id) if more else None)}

    def _stop_execution(self, request: Request) -> Answer:
        execution = self._engine.stop_execution(
            _arn(request, "executionArn", _EXECUTION_ARN), error=request.get("error"), cause=request.get("cause")
        )
        return {"stopDate": execution.stopped_at}

    def _redrive_execution(self, request: Request) -> Answer:
        arn = _arn(request, "executionArn", _EXECUTION_ARN)
        return {"redriveDate": self._engine.redrive_execution(arn, client_token=request.get("clientToken"))}


_DATA = ("input", "output", "parameters", "assignedVariables", "error", "cause")


def history_event(event: Event, *, with_data: bool = True) -> dict[str, Any]:
    """The event as GetExecutionHistory tells it."""
    answer: dict[str, Any] = {"timestamp": event.at, "type": event.type, "id": event.id, "previousEventId": event.previous_id}
    details = {key: value for key, value in event.details.items() if with_data or key not in _DATA or key == "parameters"}
    if not with_data and "parameters" in details:
        details["parameters"] = ""
    if with_data:
        details |= {f"{key}Details": {"truncated": False} for key in ("input", "output", "assignedVariables") if key in details}
    if details:
        answer[_details_key(event.type)] = details
    return answer


def _details_key(type_: str) -> str:
    for ending in ("StateEntered", "StateExited"):
        if type_.endswith(ending):
            return f"s{ending[1:]}EventDetails"
    return f"{type_[0].lower()}{type_[1:]}EventDetails"


def _machine(machine: Machine) -> Answer:
    return {"stateMachineArn": machine.arn, "name": machine.name, "type": "STANDARD", "creationDate": machine.created_at}


def _execution(execution: Execution) -> Answer:
    answer: Answer = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.started_at,
        "redriveCount": len(execution.redrives),
    }
    if execution.redriven_at is not None:
        answer["redriveDate"] = execution.redriven_at
    if execution.stopped_at is not None:
        answer["stopDate"] = execution.stopped_at
    return answer


def _arn(request: Request, key: str, form: re.Pattern[str]) -> str:
    """Raises ApiError InvalidArn, also where it is left out."""
    arn = request.get(key, "")
    if not form.fullmatch(arn):
        raise ApiError("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
    return str(arn)


def _limit(request: Request) -> int:
    return request.get("maxResults") or _PAGE


def _place(execution: Execution) -> str:
    """Where an execution stands in the list: texts in the order of their times, and of their starts at the same time."""
    moment = execution.stopped_at or execution.redriven_at or execution.started_at
    return f"{moment:020.6f} {execution.number:012}"


def _page(items: Sequence[Any], limit: int) -> tuple[Sequence[Any], bool]:
    return items[:limit], len(items) > limit


def _next(position: str | None) -> Answer:
    return {} if position is None else {"nextToken": base64.urlsafe_b64encode(position.encode()).decode()}


def _token(request: Request) -> str | None:
    token = request.get("nextToken")
    if token is None:
        return None
    try:
        return base64.urlsafe_b64decode(str(token).encode()).decode()
    except (binascii.Error, ValueError) as error:
        raise ApiError("InvalidToken", "Invalid Token: use the nextToken of the page before.") from error


def _number_token(request: Request) -> int | None:
    token = _token(request)
    if token is None:
        return None
    if not token.isdecimal():
        raise ApiError("InvalidToken", "Invalid Token: use the nextToken of the page before.")
    return int(token)
