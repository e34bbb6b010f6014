"""Scheduled, each minute: brings rows in line with executions whose events were lost -> {followed}, how many there were.

EventBridge has no finer schedule. So while executions run it looks again and again, until the next minute's invocation does.
What ended badly is told as FollowExecution tells it.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from lambdas.handlers.environment import catalog, executions, log
from lambdas.handlers.follow_execution import tell
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.missed import MissedEvents

LOOKS = 6
PAUSE_SECONDS = 10
_MISSED = MissedEvents()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    followed = _look()
    for _ in range(LOOKS - 1):
        if _MISSED.quiet:
            break
        time.sleep(PAUSE_SECONDS)
        followed += _look()
    return {"followed": followed}


def _look() -> int:
    followed = 0
    for one in _MISSED.look(catalog(), executions(), os.environ["INGEST_STATE_MACHINE_ARN"], datetime.now(UTC)):
        log.error("The event of an execution was lost", association=one.association, status=one.state.status)
        tell(one)
        count({Metric.ORPHANS_SETTLED: 1})
        followed += 1
    return followed
