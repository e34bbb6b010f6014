"""CollectResults: a job that is COMPLETED -> {imported, failed, warned, foreign, image_sets, retry}."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.catalog.imports import AttemptKey
from lambdas.handlers.environment import catalog, log, storage
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.outputs import collect


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectResults:
    association: str
    part: int
    attempt: int
    edge: str
    bucket: str
    job_id: str
    job_output_s3_uri: str
    force: bool = False


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(CollectResults, event)
    counts = collect(
        catalog(),
        storage(),
        AttemptKey(association=payload.association, part=payload.part, attempt=payload.attempt),
        edge=payload.edge,
        bucket=payload.bucket,
        job_id=payload.job_id,
        job_output_s3_uri=payload.job_output_s3_uri,
        force=payload.force,
    )
    result = asdict(counts)
    log.info("Collected", association=payload.association, part=payload.part, job_id=payload.job_id, **result)
    count(
        {
            Metric.OBJECTS_IMPORTED: counts.imported,
            Metric.OBJECTS_FAILED: counts.failed,
            Metric.OBJECTS_WARNED: counts.warned,
            Metric.OBJECTS_TO_RETRY: counts.retry,
        }
    )
    return result
