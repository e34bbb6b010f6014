"""Tells, while it happens, what a person would want to know of the executions: refusals, retries, failures, redrives, ends.

Reads their histories from Step Functions, as an operator could; the executions know nothing of it.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local.aws import Aws

_HISTORY_PAGE = 1000


class Watcher:
    """`machines` are the ARNs of the machines by name; `tell` gets (association id, text, style)."""

    def __init__(self, engine: Aws, machines: Mapping[str, str], tell: Callable[[str, str, str], None]) -> None:
        self._engine = engine.stepfunctions
        self._machines = machines
        self._tell = tell
        self._told: dict[str, int] = {}  # the newest event of each execution that was looked at

    def look_until(self, holds: Callable[[], bool], within_seconds: float, *, every_seconds: float = 0.3) -> bool:
        """Tell what happens until `holds`; False when it does not in time."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            held = holds()
            self.look()  # after `holds`: what led to it is told before anyone goes on
            if held:
                return True
            time.sleep(every_seconds)
        return False

    def look(self) -> None:
        """Tell what is new, in the order in which it happened."""
        for _, *told in sorted(self._news()):
            self._tell(*told)

    def _news(self) -> Iterator[tuple[Any, str, str, str]]:
        """(when, association, text, style) of each event that is worth a word."""
        for machine, arn in self._machines.items():
            for page in self._engine.get_paginator("list_executions").paginate(stateMachineArn=arn):
                for execution in page["executions"]:
                    association, _, of_part = execution["name"].partition(".")
                    where = f"part {of_part.partition('.')[0]}: " if of_part else ""
                    for event in self._new_events(execution["executionArn"]):
                        text, style = _words(machine, event)
                        if text:
                            yield event["timestamp"], association, where + text, style

    def _new_events(self, execution_arn: str) -> Iterator[Any]:
        told = self._told.get(execution_arn, 0)
        pages = self._engine.get_paginator("get_execution_history").paginate(
            executionArn=execution_arn, PaginationConfig={"PageSize": _HISTORY_PAGE}
        )
        for page in pages:
            for event in page["events"]:
                if event["id"] > told:
                    self._told[execution_arn] = event["id"]
                    yield event


def _words(machine: str, event: Mapping[str, Any]) -> tuple[str, str]:
    """What to say of an event, and in which style; most are not worth a word."""
    details: Mapping[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    said = "", ""
    match event["type"]:
        case "TaskFailed" if details["resourceType"].startswith("aws-sdk:"):
            said = f"{details['error'].partition('.')[2]} from {details['resource']}", "yellow"
        case "TaskSucceeded" if details["resource"] == "startDICOMImportJob":
            said = f"HealthImaging took import job {json.loads(details['output'])['JobId'][:8]}", ""
        case "TaskStateExited" if details["name"] == "CollectResults":
            said = _results(json.loads(details["output"]))
        case "ExecutionRedriven":
            said = "redriven", "cyan"
        case "ExecutionFailed" | "ExecutionTimedOut" | "ExecutionAborted" as end:
            said = f"{machine} execution {end.removeprefix('Execution').upper()}: {details.get('error', '')}", "red"
        case "ExecutionSucceeded" if machine == "ingest":
            said = "ingest execution SUCCEEDED", "green"
    return said


def _results(counts: Mapping[str, int]) -> tuple[str, str]:
    if counts["retry"]:
        return f"{counts['retry']} object(s) failed by the service's fault: again soon", "yellow"
    return f"{counts['imported']} object(s) imported, {counts['failed']} failed", "red" if counts["failed"] else ""
