"""ClaimImport: a part -> the attempt to go on with: {attempt, job_id, status, staged, input_s3_uri, output_s3_uri}."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.handlers.environment import catalog, log, storage
from lambdas.logic.claiming import Part, claim


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimImport:
    association: str
    edge: str
    bucket: str
    part: int
    execution_arn: str
    force: bool = False
    failed_only: bool = False


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = asdict(from_plain(ClaimImport, event))
    execution_arn = payload.pop("execution_arn")
    part = Part(**payload)
    claimed = claim(catalog(), storage(), part, execution_arn=execution_arn)
    log.info("Claimed", association=part.association, part=part.part, force=part.force, claimed=asdict(claimed))
    return asdict(claimed)
