"""What one association asks of AWS: requests, transitions, Lambda time, SQL. Counted apart from what is timed.

Recording endpoints stand between whoever calls AWS and the emulators, which costs time: nothing here is a latency.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import boto3

from bench.pipeline import Pipeline
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Aws
from local.stack import PORTS
from local.state import StateFolder
from tests.support.recorded_stack import RecordedStack
from tests.support.recording import RecordingEndpoint

_REPORT = re.compile(r"REPORT RequestId: \S+\s+Duration: ([\d.]+) ms.*Memory Size: (\d+) MB")
_LOOK_SECONDS = 0.7
_INDEX = "IndexObjects"


class Counted:
    """A recorded stack, and all that was counted of it up to now."""

    def __init__(self, pipeline: Pipeline, recorders: list[RecordingEndpoint]) -> None:
        self.pipeline, self._recorders = pipeline, recorders

    def association(self, objects: int, run: int) -> dict[str, float]:
        """The figures of one association of so many tiny objects.

        S3's are by what they are billed as: `s3_puts` are PUT, COPY, POST and LIST, `s3_gets` are GET and HEAD; HealthImaging's
        own are not among them. `sqs_calls` are ours; Lambda's poller adds one receive and one delete of the message.
        `index_gb_s` is IndexObjects' share of `gb_s`.
        """
        before, statements = self._settled(), self.pipeline.statements()
        (association,) = self.pipeline.send(objects, 1, run)
        return {
            "objects": objects,
            **{name: figure - before[name] for name, figure in self._settled().items()},
            "transitions": self.pipeline.transitions(association),
            "statements": self.pipeline.statements() - statements,
        }

    def _settled(self) -> dict[str, float]:
        """All up to now, once no more comes: what follows an execution's end, and the log, come after the verdict."""
        figures: dict[str, float] = {}
        while (now := self._so_far()) != figures:
            figures = now
            time.sleep(_LOOK_SECONDS)
        return figures

    def _so_far(self) -> dict[str, float]:
        asked: Counter[str] = Counter()
        for recorder in self._recorders:
            asked.update(recorder.requests)
        invocations = list(_invocations(self.pipeline.aws))
        return {
            "s3_puts": asked["s3:PutObject"] + asked["s3:ListBucket"],
            "s3_gets": asked["s3:GetObject"] + asked["s3:GetObjectVersion"],
            "sqs_calls": sum(count for action, count in asked.items() if action.startswith("sqs:")),
            "secrets": asked["secretsmanager:GetSecretValue"],
            "invocations": len(invocations),
            "lambda_ms": sum(milliseconds for _, milliseconds, _ in invocations),
            "gb_s": sum(milliseconds / 1e3 * gb for _, milliseconds, gb in invocations),
            "index_gb_s": sum(milliseconds / 1e3 * gb for name, milliseconds, gb in invocations if name.endswith(_INDEX)),
        }


def _invocations(aws: Aws) -> Iterator[tuple[str, float, float]]:
    """(function, ms, GB of memory) of every invocation, of the REPORT lines in the functions' logs."""
    logs: Any = boto3.client(
        "logs",
        endpoint_url=aws.endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )
    for page in aws.functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            name = function["FunctionName"]
            lines = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}", filterPattern="REPORT")
            for event in (event for one in lines for event in one["events"]):
                if found := _REPORT.search(event["message"]):
                    yield name, float(found.group(1)), int(found.group(2)) / 1024


@contextmanager
def counting(folder: Path) -> Iterator[Counted]:
    """A recorded stack below `folder`, whose Lambdas are warm."""
    with ExitStack() as recorders, StateFolder.owned(folder) as state:
        stack = RecordedStack(state, state.ports(PORTS, dicom_port=None), recorders)
        try:
            endpoints = stack.start()
            with closing(connect(CatalogSettings(**endpoints["mysql"], tls="off"))) as catalog:
                counted = Counted(Pipeline(endpoints, catalog), [*stack.of_functions, *stack.of_machines, stack.of_receiver])
                counted.association(10, 0)
                yield counted
        finally:
            stack.stop()
