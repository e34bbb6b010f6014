"""RegisterAssociation: {announcement, execution_arn} -> the plan of the execution."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from contract.strict import ContractError
from lambdas.handlers.environment import catalog, executions, log, storage
from lambdas.logic.registering import register
from lambdas.logic.starting import parse_announcement


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    if event.keys() != {"announcement", "execution_arn"} or not isinstance(event["announcement"], dict):
        raise ContractError("payload: expected announcement and execution_arn, and nothing else")
    execution_arn = str(event["execution_arn"])
    announcement = parse_announcement(event["announcement"])
    plan = register(catalog(), storage(), executions(), announcement=announcement, execution_arn=execution_arn)
    message = announcement.message
    log.info(
        "Registered", association=message.association, parts=len(plan.parts), slices=len(plan.slices), force=announcement.force
    )
    return {
        "association": message.association,
        "edge": message.edge,
        "bucket": message.bucket,
        "force": announcement.force,
        "slices": [asdict(one) for one in plan.slices],
        "parts": list(plan.parts),
        "parts_at_once": plan.parts_at_once,
    }
