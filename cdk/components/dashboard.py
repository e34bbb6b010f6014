"""The dashboard: is everything arriving, how fast, and what failed by which reason."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk.components.alarms import START_IMPORT, counted, of_cluster, of_edge
from cdk.components.machine import machine_arn, machine_name
from cdk.config import Config
from lambdas.handlers.metrics import Metric

_WIDTH = 12


def make_dashboard(scope: Construct, config: Config, alarms: list[cloudwatch.IAlarm]) -> cloudwatch.Dashboard:
    dashboard = cloudwatch.Dashboard(scope, "Dashboard", dashboard_name=config.prefix, default_interval=Duration.hours(12))
    dashboard.add_widgets(
        cloudwatch.TextWidget(markdown=_links(scope, config), width=_WIDTH, height=6),
        cloudwatch.AlarmStatusWidget(alarms=alarms, title="Alarms", width=_WIDTH, height=6),
    )
    dashboard.add_widgets(
        _graph("Last C-STORE to recorded ImageSetId", *_percentiles(config), unit="seconds"),
        _graph(
            "Associations by verdict",
            counted(config, Metric.ASSOCIATIONS_COMPLETE),
            counted(config, Metric.ASSOCIATIONS_INCOMPLETE),
            counted(config, Metric.ASSOCIATIONS_MISMATCHED),
            counted(config, Metric.ASSOCIATIONS_FAILED),
        ),
    )
    dashboard.add_widgets(
        _graph("Objects imported", counted(config, Metric.OBJECTS_IMPORTED)),
        _graph(
            "Objects by what went wrong",
            counted(config, Metric.OBJECTS_FAILED),
            counted(config, Metric.OBJECTS_TO_RETRY),
            counted(config, Metric.OBJECTS_WARNED),
        ),
    )
    dashboard.add_widgets(
        _graph(
            "Executions",
            *(
                cloudwatch.Metric(
                    namespace="AWS/States",
                    metric_name=name,
                    dimensions_map={"StateMachineArn": machine_arn(scope, machine_name(config, "ingest"))},
                    statistic="Sum",
                )
                for name in ("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut")
            ),
        ),
        _graph(
            "Import jobs: starts asked for, and refused",
            *(
                cloudwatch.Metric(
                    namespace="AWS/States",
                    metric_name=name,
                    dimensions_map={"ServiceIntegrationResourceArn": START_IMPORT},
                    statistic="Sum",
                )
                for name in ("ServiceIntegrationsStarted", "ServiceIntegrationsFailed")
            ),
        ),
    )
    dashboard.add_widgets(
        _graph(
            "Messages announced, by edge",
            *(
                cloudwatch.Metric(
                    namespace="AWS/SQS",
                    metric_name="NumberOfMessagesSent",
                    dimensions_map={"QueueName": f"{config.prefix}-inbound-{edge}"},
                    statistic="Sum",
                    label=edge,
                )
                for edge in config.edges
            ),
        ),
        *(
            [_graph("Catalog", of_cluster(config, "DatabaseConnections"), of_cluster(config, "ServerlessDatabaseCapacity"))]
            if config.catalog.new
            else []
        ),
    )
    dashboard.add_widgets(
        _graph(
            "Edges: the oldest object that is not in S3",
            *(of_edge(config, edge, Metric.EDGE_UPLOAD_LAG_SECONDS).with_(label=edge) for edge in config.edges),
            unit="seconds",
        ),
        _graph(
            "Edges: free space of the spool",
            *(of_edge(config, edge, Metric.EDGE_DISK_FREE_BYTES).with_(label=edge) for edge in config.edges),
            unit="bytes",
        ),
    )
    return dashboard


def _percentiles(config: Config) -> list[cloudwatch.Metric]:
    return [counted(config, Metric.SECONDS_TO_IMAGE_SETS, statistic=statistic) for statistic in ("p50", "p99")]


def _graph(title: str, *metrics: cloudwatch.Metric, unit: str = "") -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(label=unit or None, min=0, show_units=False),
        width=_WIDTH,
        height=6,
    )


def _links(scope: Construct, config: Config) -> str:
    region = Stack.of(scope).region
    console = f"https://{region}.console.aws.amazon.com"
    lines = [f"# {config.prefix}", "What to do about an alarm stands in its description.", ""]
    for machine in ("ingest", "import"):
        arn = machine_arn(scope, machine_name(config, machine))
        lines.append(f"- [executions of `{machine}`]({console}/states/home?region={region}#/statemachines/view/{arn})")
    lines += [
        f"- [saved log queries]({console}/cloudwatch/home?region={region}#logsV2:logs-insights), in the folder {config.prefix}",
        f"- [queues]({console}/sqs/v3/home?region={region}#/queues)",
        f"- [import jobs]({console}/medical-imaging/home?region={region}#/dataStores)",
    ]
    return "\n".join(lines)
