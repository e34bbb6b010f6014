"""EventBridge "Step Functions Execution Status Change" of the machine `ingest` -> {association, or null}.

What ended badly is told to the topic of failures, at least once.
"""

from __future__ import annotations

from typing import Any

from contract.strict import ContractError
from lambdas.catalog.associations import COMPLETE, INCOMPLETE, LEDGER_MISMATCH, RUNNING
from lambdas.handlers.environment import catalog, executions, log, topic
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.following import Followed, follow

_METRICS = {
    COMPLETE: Metric.ASSOCIATIONS_COMPLETE,
    INCOMPLETE: Metric.ASSOCIATIONS_INCOMPLETE,
    LEDGER_MISMATCH: Metric.ASSOCIATIONS_MISMATCHED,
}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    detail = event.get("detail")
    if not isinstance(detail, dict) or not isinstance(detail.get("executionArn"), str):
        raise ContractError("event: expected a Step Functions Execution Status Change")
    followed = follow(catalog(), executions(), detail["executionArn"])
    if followed is None:
        log.info("Followed", association=None, event_status=detail.get("status"))
        return {"association": None}
    log.info("Followed", association=followed.association, event_status=detail.get("status"), status=followed.state.status)
    tell(followed)
    return {"association": followed.association}


def tell(followed: Followed) -> None:
    """Count a change of the row to an end, and tell the topic of a bad one."""
    state = followed.state
    if not followed.changed or state.status == RUNNING:
        return
    count({_METRICS.get(state.status, Metric.ASSOCIATIONS_FAILED): 1})
    failures = topic()
    if failures is None or state.status == COMPLETE:
        return
    message = {
        "association": followed.association,
        "edge": followed.edge,
        "status": state.status,
        "error": state.error,
        "execution_arn": state.execution_arn,
        "redrive_count": state.redrive_count,
    }
    failures.publish(f"ahi-ingest: {followed.association} is {state.status}", message)
