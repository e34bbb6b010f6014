"""EventBridge "Step Functions Execution Status Change" of the machine `ingest` -> {association, or null}.

Every end is counted, and what ended badly is told to the topic of failures: at least once.
"""

from __future__ import annotations

from typing import Any

from contract.strict import ContractError
from lambdas.catalog import associations
from lambdas.catalog.associations import COMPLETE, INCOMPLETE, LEDGER_MISMATCH, ExecutionState
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
    """Count an end that nobody was told of, tell the topic of a bad one, and note that it is told. Raises as Topic, Catalog."""
    state = followed.untold
    if state is None:
        return
    failures = topic()
    if failures is not None and state.status != COMPLETE:
        failures.publish(f"ahi-ingest: {followed.association} is {state.status}", _message(followed, state))
    count({_METRICS.get(state.status, Metric.ASSOCIATIONS_FAILED): 1})
    catalog().transaction(lambda cursor: associations.note_told(cursor, followed.association, state))


def _message(followed: Followed, state: ExecutionState) -> dict[str, Any]:
    return {
        "association": followed.association,
        "edge": followed.edge,
        "status": state.status,
        "error": state.error,
        "execution_arn": state.execution_arn,
        "redrive_count": state.redrive_count,
    }
