"""Scheduled: brings rows in line with executions whose events were lost -> {followed}, how many there were.

What ended badly is told as FollowExecution tells it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from lambdas.handlers.environment import catalog, executions, log
from lambdas.handlers.follow_execution import tell
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.missed import MissedEvents

_MISSED = MissedEvents()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    machine = os.environ["INGEST_STATE_MACHINE_ARN"]
    followed = 0
    for one in _MISSED.look(catalog(), executions(), machine, datetime.now(UTC)):
        log.error("The event of an execution was lost", association=one.association, status=one.state.status)
        tell(one)
        count({Metric.ORPHANS_SETTLED: 1})
        followed += 1
    return {"followed": followed}
