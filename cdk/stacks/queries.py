"""Saved CloudWatch Logs Insights queries: the operator's usual questions.

A stack of its own, since local emulators know no such type. Log lines are JSON and carry the association and X-Ray's trace,
so that one query follows an association through every function, and leads to its traces.
"""

from __future__ import annotations

from aws_cdk import Environment, Stack
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.config import Config

_QUERIES = {
    "One association, from end to end": """\
fields @timestamp, @log, level, message, error, reason, xray_trace_id
| filter association = "ASSOCIATION"
| sort @timestamp asc
| limit 1000""",
    "What went wrong, by reason": """\
filter level in ["ERROR", "CRITICAL"]
| stats count(*) as times, latest(association) as example by @log, message, error
| sort times desc""",
    "Failed imports": """\
filter message = "Import failed"
| fields @timestamp, association, part, job_id, error
| sort @timestamp desc""",
    "Messages that start no execution": """\
filter message = "A message starts no execution"
| fields @timestamp, message_id, error, reason
| sort @timestamp desc""",
    "Objects indexed, by five minutes": """\
filter message = "Indexed"
| stats sum(indexed) as objects, sum(fetched_bytes) as bytes by bin(5m)""",
    "How long functions take": """\
filter @type = "REPORT"
| stats count(*) as invocations, pct(@duration, 50) as p50_ms, pct(@duration, 99) as p99_ms,
    max(@maxMemoryUsed / 1048576) as most_mebibytes by @log
| sort p99_ms desc""",
    "Cold starts": """\
filter @type = "REPORT" and ispresent(@initDuration)
| stats count(*) as cold, pct(@initDuration, 99) as p99_ms by @log""",
}


class QueriesStack(Stack):
    """One environment's saved queries, over the logs of the functions named."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, functions: list[str]) -> None:
        super().__init__(
            scope,
            construct_id,
            description="ahi-ingest: saved queries over the functions' logs",
            env=Environment(region=config.region),
        )
        groups = [f"/aws/lambda/{config.prefix}-{function}" for function in sorted(functions)]
        for number, (name, query) in enumerate(_QUERIES.items(), 1):
            logs.CfnQueryDefinition(
                self, f"Query{number}", name=f"{config.prefix}/{name}", query_string=query, log_group_names=groups
            )
