"""Scheduled: compares S3, the catalog and Step Functions -> {open, settled}, counts of what was found astray."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from lambdas.handlers.environment import catalog, executions, log, storage, topic
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.sweeping import Sweep

_TOLD_AT_MOST = 50


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    sweep = Sweep(
        catalog=catalog(),
        storage=storage(),
        executions=executions(),
        bucket=os.environ["BUCKET_NAME"],
        state_machine_arn=os.environ["INGEST_STATE_MACHINE_ARN"],
        now=datetime.now(UTC),
    )
    found = sweep.run()
    for one in found:
        write = log.info if one.settled else log.error
        write("Astray", kind=str(one.kind), association=one.association, edge=one.edge, detail=one.detail, settled=one.settled)
    settled = [one for one in found if one.settled]
    count({Metric.ORPHANS_OPEN: len(found) - len(settled), Metric.ORPHANS_SETTLED: len(settled)})
    if settled and (failures := topic()):
        told = [{"kind": str(one.kind), "association": one.association, "detail": one.detail} for one in settled]
        failures.publish(f"ahi-ingest: the sweep settled {len(settled)}", {"settled": told[:_TOLD_AT_MOST]})
    return {"open": len(found) - len(settled), "settled": len(settled)}
