"""Checks of one field each, for the parser: each tells its problem with the field's location and returns what is usable."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from local.stepfunctions import expressions
from local.stepfunctions.definition import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stepfunctions.expressions import Json

Object = dict[str, Any]

JSONPATH_FIELDS = frozenset(
    {"InputPath", "OutputPath", "ResultPath", "Parameters", "ResultSelector", "ItemsPath", "Result", "Variable", "SecondsPath"}
    | {"TimestampPath", "TimeoutSecondsPath", "HeartbeatSecondsPath", "MaxConcurrencyPath", "ErrorPath", "CausePath"}
)


def is_template(value: Json) -> bool:
    return isinstance(value, str) and expressions.is_expression(value)


class Checks:
    """Collects problems; `path` is where the object that holds the field stands (`/States/Foo`)."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def problem(self, text: str, path: str) -> None:
        self.problems.append(f"SCHEMA_VALIDATION_FAILED: {text} at {path}")

    def required(self, field: str, path: str, kind: str = "") -> None:
        self.problem(f"These fields are required: [{field}]" + (f", {kind}" if kind else ""), path or "/")

    def target(self, text: str, path: str) -> None:
        self.problems.append(f"MISSING_TRANSITION_TARGET: {text} at {path}")

    def only(self, body: Object, allowed: set[str], path: str) -> None:
        for field in body:
            if field in allowed:
                continue
            if field in JSONPATH_FIELDS:
                self.problem(f"the field '{field}' is JSONPath, and not supported in JSONata", f"{path}/{field}")
                continue
            near = difflib.get_close_matches(field, allowed, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            self.problem(f"the field '{field}' is not supported here{hint}", f"{path}/{field}")

    def text(self, body: Object, field: str, path: str, *, required: bool = False) -> str | None:
        value = body.get(field)
        if value is None and field not in body:
            if required:
                self.required(field, path)
            return None
        if not isinstance(value, str) or not value:
            self.problem(f"{field} must be a text", f"{path}/{field}")
            return None
        return value

    def integer(self, body: Object, field: str, path: str, *, minimum: int, maximum: int) -> int | None:
        if field not in body:
            return None
        value = body[field]
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            self.problem(f"{field} must be an integer from {minimum} to {maximum}", f"{path}/{field}")
            return None
        return value

    def object(self, body: Object, field: str, path: str) -> Object:
        value = body.get(field)
        if not isinstance(value, dict):
            self.required(field, path, "an object")
            return {}
        return value

    def objects(self, body: Object, field: str, path: str, *, required: bool = False) -> Iterator[tuple[int, Object, bool]]:
        """Each object of a list, with its index and whether it is the last."""
        if field not in body and not required:
            return
        value = body.get(field)
        if not isinstance(value, list) or (required and not value):
            self.problem(f"{field} must be a list" + (" that is not empty" if required else ""), f"{path}/{field}")
            return
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield index, item, index == len(value) - 1
            else:
                self.problem("an object is required", f"{path}/{field}[{index}]")

    def template(self, body: Object, field: str, path: str) -> Json:
        """Any JSON, whose `{% ... %}` strings are valid JSONata. ABSENT when the field is not there."""
        if field not in body:
            return ABSENT
        for location, text in expressions.strings(body[field], f"{path}/{field}"):
            reason = expressions.syntax_error(text)
            if reason is not None:
                self.problem(reason, location)
        return body[field]

    def text_template(self, body: Object, field: str, path: str) -> Json:
        value = self.template(body, field, path)
        if value is not ABSENT and not isinstance(value, str):
            self.problem(f"{field} must be a text or a JSONata expression", f"{path}/{field}")
        return value

    def number_template(self, body: Object, field: str, path: str, *, minimum: int, maximum: int) -> Json:
        value = self.template(body, field, path)
        if value is not ABSENT and not is_template(value):
            return self.integer(body, field, path, minimum=minimum, maximum=maximum)
        return value

    def condition(self, body: Object, path: str) -> Json:
        value = self.template(body, "Condition", path)
        if not isinstance(value, bool) and not is_template(value):
            self.required("Condition", path, "a JSONata expression or a boolean")
        return value

    def assign(self, body: Object, path: str) -> Json:
        value = self.template(body, "Assign", path)
        if value is ABSENT:
            return ABSENT
        if not isinstance(value, dict):
            self.problem("Assign must be an object of variables", f"{path}/Assign")
            return ABSENT
        for name in value:
            if name == "states":
                self.problem("the variable name 'states' is reserved", f"{path}/Assign/{name}")
            elif not name.isidentifier() or len(name) > 80:
                self.problem("a variable's name is 1 to 80 letters, digits and underscores", f"{path}/Assign/{name}")
        return value

    def error_equals(self, body: Object, path: str, *, last: bool) -> tuple[str, ...]:
        value = body.get("ErrorEquals")
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            self.problem("ErrorEquals must be a list of error names that is not empty", f"{path}/ErrorEquals")
            return ()
        if "States.ALL" in value and (len(value) > 1 or not last):
            self.problem("States.ALL must stand alone, and in the last entry of its list", f"{path}/ErrorEquals")
        for name in value:
            if name.startswith("States.") and name not in _RESERVED_ERRORS:
                self.problem(f"'{name}' is not an error name that Step Functions reserves", f"{path}/ErrorEquals")
        return tuple(value)


_RESERVED_ERRORS = frozenset(
    f"States.{name}"
    for name in (
        "ALL",
        "BranchFailed",
        "DataLimitExceeded",
        "ExceedToleratedFailureThreshold",
        "HeartbeatTimeout",
        "IntrinsicFailure",
        "ItemReaderFailed",
        "NoChoiceMatched",
        "ParameterPathFailure",
        "Permissions",
        "QueryEvaluationError",
        "ResultPathMatchFailure",
        "ResultWriterFailed",
        "Runtime",
        "TaskFailed",
        "Timeout",
    )
)
