"""ClaimImport: a part -> the attempt to go on with: {attempt, job_id, status, input_s3_uri, output_s3_uri}."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.handlers.environment import catalog, log
from lambdas.logic.importing import claim


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimImport:
    association: str
    edge: str
    bucket: str
    part: int
    execution_arn: str


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(ClaimImport, event)
    attempt = claim(catalog(), **asdict(payload))
    log.info("Claimed", association=payload.association, part=payload.part, attempt=attempt.attempt, job_id=attempt.job_id)
    return asdict(attempt)
