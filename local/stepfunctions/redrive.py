"""Which executions can be redriven, and which requests to do so are one.

The reasons are AWS's words, of DescribeExecution's redriveStatusReason; the limits those of
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html and of the API reference (clientToken).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.stepfunctions.execution import Execution

MAX_EVENTS_TO_REDRIVE = 24_999  # fewer are needed: for ExecutionRedriven, and one event more
_REDRIVABLE_SECONDS = 14 * 86_400  # after the end
_MAX_OPEN_SECONDS = 365 * 86_400  # after the start
_TOKENS_KEPT = 10
_TOKEN_SECONDS = 15 * 60


def obstacle(execution: Execution, last_event_id: int, now: float) -> str | None:
    """Why the execution cannot be redriven now; None when it can."""
    if execution.status in ("RUNNING", "SUCCEEDED"):
        return f"Execution is {execution.status} and cannot be redriven"
    if last_event_id >= MAX_EVENTS_TO_REDRIVE:
        return "Execution history event limit exceeded"
    if now - execution.started_at > _MAX_OPEN_SECONDS:
        return "Execution has exceeded the max execution time"
    if execution.stopped_at is not None and now - execution.stopped_at > _REDRIVABLE_SECONDS:
        return "Execution redrivable period exceeded"
    return None


def repeated(execution: Execution, token: str | None, now: float) -> float | None:
    """When this request was carried out already: one of the last 10 tokens, within 15 minutes."""
    for used, at in execution.redrives[-_TOKENS_KEPT:]:
        if token is not None and used == token and now - at <= _TOKEN_SECONDS:
            return at
    return None
