"""EventBridge "Step Functions Execution Status Change" of the machine `ingest` -> {association, or null}."""

from __future__ import annotations

from typing import Any

from contract.strict import ContractError
from lambdas.handlers.environment import catalog, executions, log
from lambdas.logic.following import follow


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    detail = event.get("detail")
    if not isinstance(detail, dict) or not isinstance(detail.get("executionArn"), str):
        raise ContractError("event: expected a Step Functions Execution Status Change")
    association = follow(catalog(), executions(), detail["executionArn"])
    log.info("Followed", association=association, event_status=detail.get("status"))
    return {"association": association}
