"""Alarms, dashboard and saved queries: each names what exists and what is really emitted, and nothing that fails is silent."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from cdk.tools import ROOT
from lambdas.handlers.environment import log
from lambdas.handlers.metrics import Metric
from tests.infrastructure.conftest import PRODUCTION, synthesize
from tests.support.templates import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from cdk.bundle import Bundle
    from tests.infrastructure.conftest import Environment

# AWS's own metrics, by namespace: the guides of Step Functions ("Monitoring with CloudWatch"), SQS ("Available CloudWatch
# metrics"), Lambda ("Using CloudWatch metrics") and Aurora ("Amazon CloudWatch metrics for Aurora").
OF_AWS = {
    "AWS/States": {
        *("ExecutionsAborted", "ExecutionsFailed", "ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsTimedOut"),
        *("ServiceIntegrationsFailed", "ServiceIntegrationsStarted"),
    },
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent"},
    "AWS/Lambda": {"Errors"},
    "AWS/RDS": {"ACUUtilization", "DatabaseConnections", "ServerlessDatabaseCapacity"},
}


def alarms(environment: Environment) -> list[dict[str, Any]]:
    return [dict(one["Properties"]) for one in environment.stacks["observability"].of("AWS::CloudWatch::Alarm").values()]


def dimensions(alarm: dict[str, Any]) -> dict[str, str]:
    return {one["Name"]: text(one["Value"]) for one in alarm["Dimensions"]}


def metrics(environment: Environment) -> Iterator[tuple[str, str]]:
    """(namespace, name) of every metric of an alarm or of the dashboard."""
    for alarm in alarms(environment):
        yield alarm["Namespace"], alarm["MetricName"]
    ((_, dashboard),) = environment.stacks["observability"].of("AWS::CloudWatch::Dashboard").items()
    for widget in json.loads(str(text(dashboard["Properties"]["DashboardBody"])))["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            yield metric[0], metric[1]


def emitted() -> set[str]:
    """The names of our metrics that some handler writes."""
    sources = "".join(path.read_text() for path in (ROOT / "lambdas" / "handlers").glob("*.py") if path.name != "metrics.py")
    return {str(metric) for metric in Metric if re.search(rf"\bMetric\.{metric.name}\b", sources)}


def test_every_alarm_and_every_graph_stands_on_a_metric_that_is_emitted(production: Environment) -> None:
    for namespace, name in metrics(production):
        assert name in (emitted() if namespace == production.config.prefix else OF_AWS[namespace]), name


def test_our_metrics_are_looked_for_where_the_functions_write_them(production: Environment) -> None:
    for function in production.stacks["ingest"].of("AWS::Lambda::Function").values():
        assert function["Properties"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] == production.config.prefix
    ours = [alarm for alarm in alarms(production) if alarm["Namespace"] == production.config.prefix]
    of_edges = [alarm for alarm in ours if alarm["MetricName"].startswith("Edge")]
    assert all(dimensions(alarm) == {"service": "ingest"} for alarm in ours if alarm not in of_edges)
    assert all(dimensions(alarm).keys() == {"service", "edge"} for alarm in of_edges)
    assert {
        str(metric) for metric in Metric if metric.name.startswith("ASSOCIATIONS_") and metric != Metric.ASSOCIATIONS_COMPLETE
    } <= {alarm["MetricName"] for alarm in ours}


def test_every_queue_of_failures_raises_an_alarm_when_it_is_not_empty(production: Environment) -> None:
    dead_letters = {
        queue["Properties"]["QueueName"]
        for template in production.stacks.values()
        for queue in template.of("AWS::SQS::Queue").values()
        if "RedrivePolicy" not in queue["Properties"]
    }
    watched = {
        dimensions(alarm)["QueueName"]
        for alarm in alarms(production)
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["Threshold"] == 1
    }
    assert watched == dead_letters


def test_every_queue_that_a_function_reads_raises_an_alarm_when_messages_wait(production: Environment) -> None:
    read = {
        queue["Properties"]["QueueName"]
        for template in production.stacks.values()
        for queue in template.of("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue["Properties"]
    }
    aged = {dimensions(one)["QueueName"] for one in alarms(production) if one["MetricName"] == "ApproximateAgeOfOldestMessage"}
    assert aged == read


def test_alarms_on_functions_name_functions_that_exist(production: Environment) -> None:
    names = {
        function["Properties"].get("FunctionName")
        for template in production.stacks.values()
        for function in template.of("AWS::Lambda::Function").values()
    }
    watched = {dimensions(alarm)["FunctionName"] for alarm in alarms(production) if alarm["Namespace"] == "AWS/Lambda"}
    assert watched <= names
    assert {name for name in names if "-answer-" in str(name)} <= watched  # which no state machine calls


def test_alarms_on_executions_name_the_ingest_machine(production: Environment) -> None:
    named = {
        dimensions(alarm)["StateMachineArn"] for alarm in alarms(production) if alarm["MetricName"].startswith("Executions")
    }
    (arn,) = named
    assert arn.endswith(":stateMachine:ahi-ingest-prod-ingest")
    ended_badly = {alarm["MetricName"] for alarm in alarms(production) if alarm["Namespace"] == "AWS/States"}
    assert ended_badly >= {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}


def test_an_edge_that_is_silent_or_behind_raises_an_alarm_after_the_time_that_the_configuration_says(
    production: Environment,
) -> None:
    thresholds = {
        (dimensions(alarm)["edge"], alarm["MetricName"]): alarm["Threshold"]
        for alarm in alarms(production)
        if "edge" in dimensions(alarm)
    }
    operations = production.config.operations
    assert thresholds == {
        (edge, metric): minutes * 60
        for edge in production.config.edges
        for metric, minutes in (
            ("EdgeSilentSeconds", operations.edge_silent_minutes),
            ("EdgeUploadLagSeconds", operations.spool_age_minutes),
        )
    }


def test_a_sweep_that_does_not_run_raises_an_alarm(production: Environment) -> None:
    (alarm,) = [one for one in alarms(production) if one["MetricName"] == str(Metric.ORPHANS_OPEN)]
    assert alarm["TreatMissingData"] == "breaching"


def test_alarms_of_the_catalog_exist_where_the_cluster_is_ours(production: Environment, brought: Environment) -> None:
    assert {"DatabaseConnections", "ACUUtilization"} <= {alarm["MetricName"] for alarm in alarms(production)}
    assert not [alarm for alarm in alarms(brought) if alarm["Namespace"] == "AWS/RDS"]


def test_every_alarm_says_what_to_do_and_tells_the_topic_of_the_environments_address(production: Environment) -> None:
    template = production.stacks["observability"]
    ((topic, properties),) = template.of("AWS::SNS::Topic").items()
    assert properties["Properties"]["KmsMasterKeyId"]
    assert all(
        alarm["AlarmActions"] == [{"Ref": topic}] and len(alarm["AlarmDescription"]) > 20 for alarm in alarms(production)
    )
    ((_, subscription),) = template.of("AWS::SNS::Subscription").items()
    assert subscription["Properties"]["Endpoint"] == "on-call@example.org"


def test_alarms_are_let_in_by_the_policy_that_refuses_plain_http(production: Environment) -> None:
    template = production.stacks["observability"]
    topic, _ = template.one("AWS::SNS::Topic")
    _, policy = template.one("AWS::SNS::TopicPolicy")
    (allowed,) = [one for one in policy["Properties"]["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    assert allowed["Resource"] == {"Ref": topic}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_no_alarm_of_connections_where_their_number_is_not_known(
    bundle: Bundle, certificate_authority: Path, tmp_path: Path
) -> None:
    table = PRODUCTION | {"catalog": PRODUCTION["catalog"] | {"connections": 0}}
    production = synthesize(table, bundle=bundle, certificate_authority=certificate_authority, output=tmp_path)
    assert "DatabaseConnections" not in {alarm["MetricName"] for alarm in alarms(production)}


def test_the_dashboard_shows_how_long_images_take_and_leads_to_the_executions(production: Environment) -> None:
    ((_, dashboard),) = production.stacks["observability"].of("AWS::CloudWatch::Dashboard").items()
    widgets = json.loads(str(text(dashboard["Properties"]["DashboardBody"])))["widgets"]
    (latency,) = [one for one in widgets if one["properties"].get("title", "").startswith("Last C-STORE to")]
    assert sorted(metric[-1]["stat"] for metric in latency["properties"]["metrics"]) == ["p50", "p99"]
    (words,) = [one["properties"]["markdown"] for one in widgets if one["type"] == "text"]
    assert "states/home?region=eu-west-1#/statemachines/view/arn:" in words


def test_saved_queries_ask_for_lines_that_the_functions_write(production: Environment) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "lambdas").rglob("*.py"))
    definitions = production.stacks["queries"].of("AWS::Logs::QueryDefinition").values()
    asked = {message for one in definitions for message in re.findall(r'message = "([^"]+)"', one["Properties"]["QueryString"])}
    assert asked
    assert all(f'"{message}"' in sources for message in asked)
    groups = {group["Properties"]["LogGroupName"] for group in production.stacks["ingest"].of("AWS::Logs::LogGroup").values()}
    assert all(set(one["Properties"]["LogGroupNames"]) <= groups for one in definitions)


def test_a_functions_log_line_leads_from_an_association_to_its_trace(
    production: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda gives the trace's id to the function (guide, "Using Lambda environment variables")."""
    written = io.StringIO()
    monkeypatch.setattr(log.registered_handler, "stream", written)
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1")
    log.info("Indexed", association="20261124T000000Z-CT-0123abcd")
    line = json.loads(written.getvalue())
    assert (line["association"], line["xray_trace_id"]) == (
        "20261124T000000Z-CT-0123abcd",
        "1-65a1b2c3-0123456789abcdef01234567",
    )
    queries = [one["Properties"] for one in production.stacks["queries"].of("AWS::Logs::QueryDefinition").values()]
    (one_association,) = [query["QueryString"] for query in queries if query["Name"].endswith("from end to end")]
    assert "xray_trace_id" in one_association
