"""RecordFailure: by what an import execution is about to fail -> {}. The cause goes to the catalog, and not into a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.catalog.imports import AttemptKey
from lambdas.handlers.environment import catalog, log
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.importing import record_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFailure:
    association: str
    part: int
    attempt: int
    job_id: str
    job_failed: bool
    error: str
    cause: str


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(RecordFailure, event)
    record_failure(
        catalog(),
        AttemptKey(association=payload.association, part=payload.part, attempt=payload.attempt),
        job_id=payload.job_id,
        job_failed=payload.job_failed,
        error=payload.error,
        cause=payload.cause,
    )
    log.error("Import failed", association=payload.association, part=payload.part, job_id=payload.job_id, error=payload.error)
    count({Metric.IMPORTS_FAILED: 1})
    return {}
