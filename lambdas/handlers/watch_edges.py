"""Scheduled: reads the edges' reports -> {edges, never_reported}. What it finds goes into metrics, one series for each edge.

EDGES    the ids of the edges, separated by commas
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from lambdas.handlers.environment import log, storage
from lambdas.handlers.metrics import Metric, measure_edge
from lambdas.logic.watching import watch


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    edges = os.environ["EDGES"].split(",")
    never = []
    for edge in edges:
        health = watch(storage(), os.environ["BUCKET_NAME"], edge, datetime.now(UTC))
        if health is None:
            never.append(edge)
            continue
        measured = {
            Metric.EDGE_SILENT_SECONDS: health.silent_seconds,
            Metric.EDGE_UPLOAD_LAG_SECONDS: health.upload_lag_seconds,
            Metric.EDGE_DISK_FREE_BYTES: health.disk_free_bytes,
        }
        measure_edge(edge, {metric: value for metric, value in measured.items() if value is not None})
        if health.upload_lag_seconds is None:
            log.error("An edge's report cannot be read", edge=edge)
    log.info("Watched", edges=len(edges), never_reported=never)
    return {"edges": len(edges), "never_reported": never}
