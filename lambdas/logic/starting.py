"""From an SQS message to an execution of `ingest`, named by the association's id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from contract.message import InboundMessage
from contract.strict import ContractError, from_json, from_plain
from lambdas.catalog.associations import Announcement

_SENT_AT_MS_MIN = 1_500_000_000_000  # 2017: whatever is below is seconds, or nonsense


class StartsExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def start(self, state_machine_arn: str, name: str, document: dict[str, Any]) -> str | None: ...


def start(executions: StartsExecutions, state_machine_arn: str, body: str, sent_timestamp: str) -> str:
    """Start the execution of a message that SQS took at `sent_timestamp` (ms, as text); the association's id.

    One that exists already is success: SQS delivers a message more than once. Raises ContractError, StorageUnavailableError.
    """
    if not sent_timestamp.isdecimal():
        raise ContractError("SentTimestamp: expected milliseconds since 1970")
    message = from_json(InboundMessage, body)
    document = json.loads(body) | {"sent_at_ms": int(sent_timestamp)}
    parse_announcement(document)
    executions.start(state_machine_arn, message.association, document)
    return message.association


def parse_announcement(document: Mapping[str, object]) -> Announcement:
    """The input of an execution of `ingest`. Raises ContractError."""
    sent_at_ms = document.get("sent_at_ms")
    if type(sent_at_ms) is not int or sent_at_ms < _SENT_AT_MS_MIN:
        raise ContractError("sent_at_ms: expected milliseconds since 1970, as SQS's SentTimestamp has them")
    force = document.get("force", False)
    if type(force) is not bool:
        raise ContractError("force: expected true or false")
    message = {name: value for name, value in document.items() if name not in ("sent_at_ms", "force")}
    return Announcement(message=from_plain(InboundMessage, message), sent_at_ms=sent_at_ms, force=force)
