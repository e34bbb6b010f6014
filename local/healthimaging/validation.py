"""The rules for the fields of a request, as the service's own model states them.

boto3 checks required members and minimum lengths; patterns and maxima are the service's to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.healthimaging.errors import invalid

Body = Mapping[str, Any]

JOB_STATUSES = ("SUBMITTED", "IN_PROGRESS", "COMPLETED", "FAILED")
DATASTORE_STATUSES = ("CREATING", "CREATE_FAILED", "ACTIVE", "DELETING", "DELETED")
MAX_PAGE = 50


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    min_length: int
    max_length: int


def _rule(pattern: str, min_length: int, max_length: int) -> _Rule:
    return _Rule(re.compile(pattern), min_length, max_length)


_RULES: Mapping[str, _Rule] = {
    "datastoreId": _rule(r"[0-9a-z]{32}", 32, 32),
    "imageSetId": _rule(r"[0-9a-z]{32}", 32, 32),
    "jobId": _rule(r"[0-9a-z]+", 1, 32),
    "versionId": _rule(r"[0-9]+", 1, 64),
    "dataAccessRoleArn": _rule(r"arn:aws(-[^:]+)?:iam::[0-9]{12}:role/.+", 20, 2048),
    "clientToken": _rule(r"[A-Za-z0-9._-]+", 1, 64),
    "inputS3Uri": _rule(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?", 1, 1024),
    "outputS3Uri": _rule(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?", 1, 1024),
    "jobName": _rule(r"[A-Za-z0-9._/#-]+", 1, 64),
    "inputOwnerAccountId": _rule(r"[0-9]{12}", 12, 12),
    "datastoreName": _rule(r"[A-Za-z0-9._/#-]+", 1, 256),
}


def check(name: str, value: object) -> str:
    """The value of the field `name`, when it keeps the rule. Raises ServiceError ValidationException, without the value."""
    rule = _RULES[name]
    if not isinstance(value, str):
        raise invalid(f"Value at '{name}' failed to satisfy constraint: Member must not be null")
    if not rule.min_length <= len(value) <= rule.max_length:
        raise invalid(
            f"Value at '{name}' failed to satisfy constraint: "
            f"Member must have length between {rule.min_length} and {rule.max_length}"
        )
    if not rule.pattern.fullmatch(value):
        raise invalid(
            f"Value at '{name}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {rule.pattern.pattern}"
        )
    return value


def check_optional(name: str, body: Body) -> str | None:
    return check(name, body[name]) if body.get(name) is not None else None


def check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise invalid(f"Value at '{name}' failed to satisfy constraint: Member must satisfy enum value set: {list(choices)}")
    return value


def check_page(max_results: str | None, next_token: str | None) -> tuple[int, int]:
    """(items on this page, items before it)."""
    size = max_results or str(MAX_PAGE)
    if not size.isdecimal() or not 1 <= int(size) <= MAX_PAGE:
        raise invalid(f"Value at 'maxResults' failed to satisfy constraint: Member must be between 1 and {MAX_PAGE}")
    offset = next_token or "0"
    if not offset.isdecimal():
        raise invalid("Invalid pagination token.")
    return int(size), int(offset)
