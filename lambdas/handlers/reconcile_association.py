"""ReconcileAssociation: {association, execution_arn} -> {verdict, and the ledger's sums}, or one of the two verdict errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from contract.strict import from_plain
from lambdas.catalog.associations import COMPLETE
from lambdas.handlers.environment import catalog, log
from lambdas.handlers.metrics import Metric, measure
from lambdas.logic.reconciling import reconcile, seconds_to_image_sets


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileAssociation:
    association: str
    execution_arn: str


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    payload = from_plain(ReconcileAssociation, event)
    counts = reconcile(catalog(), association=payload.association, execution_arn=payload.execution_arn)
    result = {"verdict": COMPLETE, **asdict(counts)}
    log.info("Reconciled", association=payload.association, **result)
    seconds = seconds_to_image_sets(catalog(), payload.association)
    if seconds is not None:
        measure(Metric.SECONDS_TO_IMAGE_SETS, seconds)
    return result
