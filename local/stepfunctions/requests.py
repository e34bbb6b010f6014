"""Requests as the service's own model has them: members, types, lengths, enumerations, patterns.

What has an error of its own (names, ARNs, definitions, an execution's input) is left to who knows that error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.aws import service_model
from local.stepfunctions.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.model import Shape, StringShape

_OWN_ERROR = frozenset({"definition", "executionArn", "input", "name", "roleArn", "stateMachineArn"})
# An answer that ignored one of these would not be what AWS answers. (Logging, tracing and tags change no answer.)
_NOT_CARRIED_OUT = frozenset(
    {"encryptionConfiguration", "includedData", "mapRunArn", "publish", "redriveFilter", "versionDescription"}
)
_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def check(operation: str, request: dict[str, Any]) -> None:
    """Raises ApiError ValidationException."""
    shape: Any = service_model("stepfunctions").operation_model(operation).input_shape
    problems = [f"The parameter '{name}' is required" for name in shape.required_members if request.get(name) is None]
    for name, value in request.items():
        member = shape.members.get(name)
        if member is None or name in _NOT_CARRIED_OUT:
            problems.append(f"The parameter '{name}' is not supported")
        elif value is not None:
            problem = _problem(member, value, measured=name not in _OWN_ERROR)
            if problem:
                problems.append(f"Value at '{name}' failed to satisfy constraint: {problem}")
    if problems:
        plural = "s" if len(problems) > 1 else ""
        raise ApiError("ValidationException", f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}")


def _problem(member: Shape, value: Any, *, measured: bool) -> str | None:
    known = _TYPES.get(member.type_name)
    if known is None:
        return None
    if not known(value):
        return f"Member must be a {member.type_name}"
    if not measured:
        return None
    low, high = member.metadata.get("min"), member.metadata.get("max")
    if member.type_name == "string":
        return _text_problem(member, value, low, high)  # type: ignore[arg-type]  # its type_name says so
    if member.type_name == "integer" and not (low or 0) <= value <= (high or value):
        return f"Member must have value from {low} to {high}"
    return None


def _text_problem(member: StringShape, value: str, low: int | None, high: int | None) -> str | None:
    if member.enum and value not in member.enum:
        return f"Member must satisfy enum value set: {list(member.enum)}"
    if not (low or 0) <= len(value) <= (high or len(value)):
        return f"Member must have length from {low or 0} to {high}"
    pattern = member.metadata.get("pattern", "")
    if pattern and r"\p{" not in pattern and not re.fullmatch(pattern, value):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return None
