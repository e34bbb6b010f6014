"""The functions' metrics, written into their logs in CloudWatch's Embedded Metric Format. docs/metrics.md says what for.

The namespace is POWERTOOLS_METRICS_NAMESPACE, one for each environment; the only dimension is service=ingest, and for what
edges report the edge. All but SecondsToImageSets and the edges' are counts of what one invocation did or found.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit


class Metric(enum.StrEnum):
    """A metric's name."""

    ASSOCIATIONS_COMPLETE = "AssociationsComplete"
    ASSOCIATIONS_INCOMPLETE = "AssociationsIncomplete"
    ASSOCIATIONS_MISMATCHED = "AssociationsMismatched"
    ASSOCIATIONS_FAILED = "AssociationsFailed"
    OBJECTS_IMPORTED = "ObjectsImported"
    OBJECTS_FAILED = "ObjectsFailed"
    OBJECTS_TO_RETRY = "ObjectsToRetry"
    OBJECTS_WARNED = "ObjectsWarned"
    IMPORTS_FAILED = "ImportsFailed"
    ORPHANS_OPEN = "OrphansOpen"
    ORPHANS_SETTLED = "OrphansSettled"
    MESSAGES_REFUSED = "MessagesRefused"
    SECONDS_TO_IMAGE_SETS = "SecondsToImageSets"
    EDGE_SILENT_SECONDS = "EdgeSilentSeconds"
    EDGE_UPLOAD_LAG_SECONDS = "EdgeUploadLagSeconds"
    EDGE_DISK_FREE_BYTES = "EdgeDiskFreeBytes"


def count(counts: Mapping[Metric, int]) -> None:
    """Write these counts now, zeros too: an alarm that sees a zero knows that somebody looked."""
    metrics = _metrics()
    for metric, value in counts.items():
        metrics.add_metric(str(metric), MetricUnit.Count, value)
    metrics.flush_metrics()


def measure(metric: Metric, seconds: float) -> None:
    """Write one duration now."""
    metrics = _metrics()
    metrics.add_metric(str(metric), MetricUnit.Seconds, seconds)
    metrics.flush_metrics()


def measure_edge(edge: str, values: Mapping[Metric, float]) -> None:
    """Write what an edge reported, with the edge as a second dimension."""
    metrics = _metrics()
    metrics.add_dimension("edge", edge)
    for metric, value in values.items():
        metrics.add_metric(str(metric), MetricUnit.Bytes if metric.endswith("Bytes") else MetricUnit.Seconds, value)
    metrics.flush_metrics()


def _metrics() -> Metrics:
    return Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "ahi-ingest"), service="ingest")
