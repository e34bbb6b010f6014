"""The alarms of an environment, as data: each says what it means, and an operator what to do.

They stand on fixed names and not on other stacks' resources, so that an edge can be removed without a knot of exports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk.components.machine import machine_arn, machine_name
from cdk.components.queues import QueueNames
from cdk.config import Config
from lambdas.handlers.metrics import Metric

START_IMPORT = "arn:aws:states:::aws-sdk:medicalimaging:startDICOMImportJob"

_FIVE_MINUTES = Duration.minutes(5)
_FUNCTIONS_THAT_NO_MACHINE_WATCHES = (
    "FollowExecution",
    "IndexExternal",
    "MigrateCatalog",
    "StartExecution",
    "Sweep",
    "WatchEdges",
    "WatchExecutions",
)
_OLDEST_MESSAGE_SECONDS = 900
_STARTS_REFUSED = 30
_CAPACITY_PERCENT = 90


@dataclass(frozen=True, kw_only=True)
class AlarmSpec:
    """One alarm: `metric` at or above `threshold` in `periods` periods of `period` running."""

    name: str
    says: str
    metric: cloudwatch.IMetric
    threshold: float = 1
    periods: int = 1
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING


def of_executions(scope: Construct, config: Config) -> Iterator[AlarmSpec]:
    """Executions of the machine `ingest`; a failed import fails its parent too."""
    arn = machine_arn(scope, machine_name(config, "ingest"))
    for metric, what in (
        ("ExecutionsFailed", "failed: `ahi-ingest list` shows which, `ahi-ingest replay` goes on from the step that failed"),
        ("ExecutionsTimedOut", "ran for two days and were ended: the catalog or HealthImaging did not answer; replay them"),
        ("ExecutionsAborted", "were stopped by hand: replay them, unless that was meant"),
    ):
        yield AlarmSpec(
            name=f"ingest-{metric}",
            says=f"Executions {what}.",
            metric=cloudwatch.Metric(
                namespace="AWS/States",
                metric_name=metric,
                dimensions_map={"StateMachineArn": arn},
                statistic="Sum",
                period=_FIVE_MINUTES,
            ),
        )
    yield AlarmSpec(
        name="import-StartRefused",
        says="HealthImaging refuses to start imports, again and again: see the quota of concurrent jobs and the error in "
        "import_job. Nothing is lost: starts are retried for hours.",
        metric=cloudwatch.Metric(
            namespace="AWS/States",
            metric_name="ServiceIntegrationsFailed",
            dimensions_map={"ServiceIntegrationResourceArn": START_IMPORT},
            statistic="Sum",
            period=_FIVE_MINUTES,
        ),
        threshold=_STARTS_REFUSED,
        periods=3,
    )


def of_associations(config: Config) -> Iterator[AlarmSpec]:
    """What the functions count (docs/metrics.md)."""
    for metric, says in (
        (Metric.ASSOCIATIONS_INCOMPLETE, "Associations ended with objects that failed or were quarantined."),
        (Metric.ASSOCIATIONS_MISMATCHED, "The ledger of an association does not match its manifest: look at it first."),
        (Metric.ASSOCIATIONS_FAILED, "Associations failed by an error, timed out or were stopped."),
        (Metric.MESSAGES_REFUSED, "An edge sent a message that keeps no contract: it is in the dead letter queue."),
    ):
        yield AlarmSpec(name=str(metric), says=f"{says} `ahi-ingest show` tells more.", metric=counted(config, metric))
    yield AlarmSpec(
        name=str(Metric.ORPHANS_OPEN),
        says="Something is astray that the sweep could not put right, or the sweep does not run: `ahi-ingest orphans`.",
        metric=counted(config, Metric.ORPHANS_OPEN, statistic="Maximum", period=Duration.minutes(30)),
        missing=cloudwatch.TreatMissingData.BREACHING,
    )


def of_edges(config: Config) -> Iterator[AlarmSpec]:
    """What the edges report. An edge that has never reported has no data, and raises none of these."""
    for edge in config.edges:
        yield AlarmSpec(
            name=f"{edge}-silent",
            says=f"The edge {edge} does not report: is its receiver up, and the line to AWS? What it has is on its disk.",
            metric=of_edge(config, edge, Metric.EDGE_SILENT_SECONDS),
            threshold=config.operations.edge_silent_minutes * 60,
        )
        yield AlarmSpec(
            name=f"{edge}-behind",
            says=f"Objects wait in the spool of the edge {edge}: is the line to AWS too slow, or refused? See its status.",
            metric=of_edge(config, edge, Metric.EDGE_UPLOAD_LAG_SECONDS),
            threshold=config.operations.spool_age_minutes * 60,
        )


def of_queues(queues: list[QueueNames]) -> Iterator[AlarmSpec]:
    for queue in queues:
        yield AlarmSpec(
            name=f"{queue.dead_letters}-not-empty",
            says=f"Messages could not be handled and wait in {queue.dead_letters}: `ahi-ingest queues` says why, and with "
            f"`--redrive {queue.dead_letters}` gives them back.",
            metric=_of_queue(queue.dead_letters, "ApproximateNumberOfMessagesVisible"),
        )
        if queue.name:
            yield AlarmSpec(
                name=f"{queue.name}-late",
                says=f"Messages wait in {queue.name} for more than {_OLDEST_MESSAGE_SECONDS // 60} minutes: is the function "
                "that reads it throttled?",
                metric=_of_queue(queue.name, "ApproximateAgeOfOldestMessage"),
                threshold=_OLDEST_MESSAGE_SECONDS,
            )


def of_functions(config: Config) -> Iterator[AlarmSpec]:
    """Functions whose failures no state machine sees."""
    for function in (*_FUNCTIONS_THAT_NO_MACHINE_WATCHES, *(f"answer-{edge}" for edge in config.answered_edges)):
        name = f"{config.prefix}-{function}"
        yield AlarmSpec(
            name=f"{function}-errors",
            says=f"{function} fails: its log group /aws/lambda/{name} says why.",
            metric=cloudwatch.Metric(
                namespace="AWS/Lambda",
                metric_name="Errors",
                dimensions_map={"FunctionName": name},
                statistic="Sum",
                period=_FIVE_MINUTES,
            ),
            threshold=3,
        )


def of_catalog(config: Config) -> Iterator[AlarmSpec]:
    """The cluster, where it is this environment's own."""
    if not config.catalog.new:
        return
    if config.catalog.connections:
        yield AlarmSpec(
            name="catalog-connections",
            says="The catalog's connections are almost used up: lower quotas.lambda_concurrency, or raise max_capacity.",
            metric=of_cluster(config, "DatabaseConnections"),
            threshold=config.catalog.connections * 9 // 10,
            periods=3,
        )
    yield AlarmSpec(
        name="catalog-capacity",
        says="The catalog is at its capacity: raise catalog.max_capacity.",
        metric=of_cluster(config, "ACUUtilization"),
        threshold=_CAPACITY_PERCENT,
        periods=6,
    )


def counted(config: Config, metric: Metric, *, statistic: str = "Sum", period: Duration = _FIVE_MINUTES) -> cloudwatch.Metric:
    """A metric of ours."""
    return cloudwatch.Metric(
        namespace=config.prefix,
        metric_name=str(metric),
        dimensions_map={"service": "ingest"},
        statistic=statistic,
        period=period,
    )


def of_edge(config: Config, edge: str, metric: Metric) -> cloudwatch.Metric:
    """A metric that an edge's reports give."""
    return cloudwatch.Metric(
        namespace=config.prefix,
        metric_name=str(metric),
        dimensions_map={"service": "ingest", "edge": edge},
        statistic="Maximum",
        period=_FIVE_MINUTES,
    )


def of_cluster(config: Config, metric: str) -> cloudwatch.Metric:
    """A metric of the environment's own cluster."""
    return cloudwatch.Metric(
        namespace="AWS/RDS",
        metric_name=metric,
        dimensions_map={"DBClusterIdentifier": config.prefix},
        statistic="Maximum",
        period=_FIVE_MINUTES,
    )


def _of_queue(name: str, metric: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name=metric,
        dimensions_map={"QueueName": name},
        statistic="Maximum",
        period=_FIVE_MINUTES,
    )
