"""RecordJob: an attempt's job and its status -> {}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.catalog.imports import AttemptKey
from lambdas.handlers.environment import catalog, log
from lambdas.logic.importing import record_job


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordJob:
    association: str
    part: int
    attempt: int
    job_id: str
    status: str


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(RecordJob, event)
    key = AttemptKey(association=payload.association, part=payload.part, attempt=payload.attempt)
    record_job(catalog(), key, job_id=payload.job_id, status=payload.status)
    log.info("Job", association=payload.association, part=payload.part, job_id=payload.job_id, status=payload.status)
    return {}
