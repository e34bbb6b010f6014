"""The rules for the fields of a request, as the service's own model states them.

boto3 checks required members and minimum lengths; patterns and maxima are the service's to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from local.healthimaging.errors import invalid

Body = Mapping[str, Any]
Item = TypeVar("Item")

JOB_STATUSES = ("SUBMITTED", "IN_PROGRESS", "COMPLETED", "FAILED")
DATASTORE_STATUSES = ("CREATING", "CREATE_FAILED", "ACTIVE", "DELETING", "DELETED")
MAX_PAGE = 50


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    min_length: int
    max_length: int


def _rule(pattern: str, min_length: int, max_length: int) -> Rule:
    return Rule(re.compile(pattern), min_length, max_length)


# As the service's model has them (tests/unit/healthimaging/test_model.py compares).
RULES: Mapping[str, Rule] = {
    "datastoreId": _rule(r"[0-9a-z]{32}", 32, 32),
    "imageSetId": _rule(r"[0-9a-z]{32}", 32, 32),
    "jobId": _rule(r"[0-9a-z]+", 1, 32),
    "versionId": _rule(r"[0-9]+", 1, 20),  # the service gives no length
    "dataAccessRoleArn": _rule(r"arn:aws(-[^:]+)?:iam::[0-9]{12}:role/.+", 20, 2048),
    "clientToken": _rule(r"[A-Za-z0-9._-]+", 1, 64),
    "inputS3Uri": _rule(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?", 1, 1024),
    "outputS3Uri": _rule(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?", 1, 1024),
    "jobName": _rule(r"[A-Za-z0-9._/#-]+", 1, 64),
    "inputOwnerAccountId": _rule(r"[0-9]+", 12, 12),
    "datastoreName": _rule(r"[A-Za-z0-9._/#-]+", 1, 256),
}


def check(name: str, value: object) -> str:
    """The value of the field `name`, when it keeps the rule. Raises ServiceError ValidationException, without the value."""
    rule = RULES[name]
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


@dataclass(frozen=True)
class Page:
    """One page of a list: `size` items after the first `offset`. Read one item more to know whether there is a next."""

    size: int
    offset: int

    @classmethod
    def asked(cls, max_results: str | None, next_token: str | None) -> Page:
        """Raises ServiceError ValidationException."""
        size = max_results or str(MAX_PAGE)
        if not size.isdecimal() or not 1 <= int(size) <= MAX_PAGE:
            raise invalid(f"Value at 'maxResults' failed to satisfy constraint: Member must be between 1 and {MAX_PAGE}")
        offset = next_token or "0"
        if not offset.isdecimal():
            raise invalid("Invalid pagination token.")
        return cls(int(size), int(offset))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        return items[: self.size]

    def next(self, found: int) -> dict[str, str]:
        """`nextToken`, where more than the page was found."""
        return {"nextToken": str(self.offset + self.size)} if found > self.size else {}
