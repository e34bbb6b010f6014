"""StageCopies: an attempt that imports some objects of its part -> {staged}, once copies of them are below its prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.catalog.imports import AttemptKey
from lambdas.handlers.environment import catalog, log, storage
from lambdas.logic.staging import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCopies:
    association: str
    bucket: str
    part: int
    attempt: int


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(StageCopies, event)
    key = AttemptKey(association=payload.association, part=payload.part, attempt=payload.attempt)
    staged = stage(catalog(), storage(), key, payload.bucket)
    log.info("Staged", association=payload.association, part=payload.part, attempt=payload.attempt, staged=staged)
    return {"staged": staged}
