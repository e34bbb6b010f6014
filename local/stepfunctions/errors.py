"""The engine's errors, by who has to deal with them.

ApiError      the caller of an operation: refused, nothing was done (an AWS error code and a message)
StateError    the state machine: a state failed by a name that Retry and Catch match
  TaskError   raised by whatever carries out a Task (`tasks.py`, or a test's own invoker)
"""

from __future__ import annotations

from typing import Any

DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"
NO_CHOICE_MATCHED = "States.NoChoiceMatched"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"
RUNTIME = "States.Runtime"
TASK_FAILED = "States.TaskFailed"
TIMEOUT = "States.Timeout"


class ApiError(Exception):
    """An operation is refused; `code` is the error's name in AWS's API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StateError(Exception):
    """A state failed with an Error Name and a Cause (Amazon States Language, "Errors").

    `event` and `details` are the history event that tells of it, where AWS has one; it is recorded together with
    what becomes of the failure (a retry, a Catch, or the end of the flow).
    """

    def __init__(
        self, error: str | None, cause: str | None = None, *, event: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause
        self.event = event
        self.details = details or {}

    def texts(self) -> dict[str, str]:
        """`error` and `cause` as history events carry them: left out when there is none."""
        return {key: text for key, text in (("error", self.error), ("cause", self.cause)) if text is not None}


class TaskError(StateError):
    """A Task's resource answered with an error, for example `TaskError("Ingest.Incomplete", '{"errorMessage": ...}')`."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error, cause)
