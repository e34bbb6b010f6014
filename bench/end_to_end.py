"""From an association's release to its ImageSetIds in MySQL, less the import job's own time, on the local stack.

    ./dev bench end_to_end [--objects 1,100,1000,5000] [--associations 1,20,100] [--rounds N] [--timer-seconds 60]

The job's own time is what HealthImaging says: from submitted to ended. All else is ours: upload of what is left, manifest,
queue, execution, Lambdas, polls, and the wait for HealthImaging's rate of one start a second. Beside it runs the reference's
pattern, rebuilt from its description: a timer of one minute starts jobs for what is new, looks at those that run, and records
those that have ended; its associations are announced at random moments of a minute.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
from rich.console import Console

from bench import results
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Association, Queries, connect
from local.aws import Aws
from tests.support.stack import RunningStack

OURS, TIMER = "ahi-ingest", "a timer of one minute"
_OBJECTS_OF_MANY = 10
_WITHIN_SECONDS = 900
_LOOK_SECONDS = 0.5


class Measured:
    """The stack that is measured, and what its parts say of an association."""

    def __init__(self, stack: RunningStack, catalog: Queries) -> None:
        self._stack, self.catalog = stack, catalog
        self._engine = Aws(stack.endpoints["stepfunctions"]["endpoint_url"]).stepfunctions
        imaging = stack.endpoints["medical_imaging"]
        self._imaging, self._datastore = Aws(imaging["endpoint_url"]).medical_imaging, imaging["datastore_id"]

    def send(self, objects: int, associations: int, run: int) -> list[Association]:
        """Send tiny objects over so many associations at once, and wait until each has its verdict."""
        known = {one.association for one in self.catalog.associations(10_000)}
        port = self._stack.endpoints["dicom"]["port"]
        sender = [sys.executable, "-m", "bench.sender", "dicom", str(port), f"tiny:{objects}", str(associations), str(run)]
        subprocess.run(sender, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
        deadline = time.monotonic() + _WITHIN_SECONDS
        while True:
            new = [one for one in self.catalog.associations(10_000) if one.association not in known]
            ended = [one for one in new if one.status != "RUNNING" and one.objects > 0]
            if len(ended) >= associations:
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(ended)} of {associations} associations have ended after {_WITHIN_SECONDS} s")
            time.sleep(_LOOK_SECONDS)
        if failed := [one for one in ended if one.status != "COMPLETE"]:
            raise SystemExit(f"{failed[0].association} is {failed[0].status}: {failed[0].error}")
        return ended

    def statements(self) -> int:
        """SQL statements that the server has taken, ours for looking included: a few of each run's hundreds."""
        address = {name: self._stack.endpoints["mysql"][name] for name in ("host", "port", "user", "password")}
        with closing(pymysql.connect(**address)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            return int((cursor.fetchone() or ("", 0))[1])

    def seconds(self, association: Association) -> float:
        """From its end to its verdict, less its import jobs' own time."""
        assert association.ended_at is not None  # noqa: S101 - it has a manifest
        own = 0.0
        for job in self.catalog.import_jobs(association.association):
            answer = self._imaging.get_dicom_import_job(datastoreId=self._datastore, jobId=str(job.job_id))["jobProperties"]
            own += (answer["endedAt"] - answer["submittedAt"]).total_seconds()
        return (association.status_changed_at - association.ended_at).total_seconds() - own

    def work(self, association: Association) -> dict[str, float]:
        """State transitions, and seconds of Lambda invocations with their wait, of an execution and its children."""
        counts: Counter[str] = Counter()
        lambda_seconds = 0.0
        arns = [
            str(association.execution_arn),
            *(job.execution_arn for job in self.catalog.import_jobs(association.association)),
        ]
        for arn in dict.fromkeys(arns):
            began: dict[int, float] = {}
            pages = self._engine.get_paginator("get_execution_history").paginate(executionArn=arn)
            for event in (event for page in pages for event in page["events"]):
                kind, moment = event["type"], event["timestamp"].timestamp()
                counts["transitions"] += kind.endswith("StateEntered")
                if kind == "TaskStarted":
                    began[event["id"]] = moment
                elif kind == "TaskSucceeded" and event["taskSucceededEventDetails"]["resourceType"] == "lambda":
                    counts["invocations"] += 1
                    lambda_seconds += moment - began.get(event["previousEventId"], moment)
        return {**counts, "lambda_ms": 1e3 * lambda_seconds}


@dataclass
class _Announced:
    """An association as the reference's pattern has it."""

    at: float
    prefix: str
    job: str | None = None
    recorded: dict[str, Any] = field(default_factory=dict)


def timer_pattern(stack: RunningStack, associations: list[Association], jobs: list[str], timer_seconds: float) -> list[float]:
    """The seconds that the reference's pattern takes for the same import prefixes, less the jobs' own time."""
    imaging = stack.endpoints["medical_imaging"]
    client, s3 = Aws(imaging["endpoint_url"]).medical_imaging, Aws(stack.endpoints["aws"]["endpoint_url"]).s3
    began = time.monotonic()
    moments = sorted(random.uniform(0, timer_seconds) for _ in associations)
    waiting = [_Announced(began + moment, prefix) for moment, prefix in zip(moments, jobs, strict=True)]
    left, tick = list(waiting), began
    while left:
        tick += timer_seconds
        time.sleep(max(0.0, tick - time.monotonic()))
        for one in left:
            if one.job is None and one.at <= tick:
                time.sleep(1)  # the service's rate
                answer = client.start_dicom_import_job(
                    datastoreId=imaging["datastore_id"],
                    dataAccessRoleArn="arn:aws:iam::000000000000:role/bench",
                    clientToken=f"timer-{random.randrange(2**64):x}",
                    inputS3Uri=one.prefix,
                    outputS3Uri=f"s3://{urlsplit(one.prefix).netloc}/imports/timer/",
                )
                one.job = answer["jobId"]
            elif one.job is not None:
                job = client.get_dicom_import_job(datastoreId=imaging["datastore_id"], jobId=one.job)["jobProperties"]
                if job["jobStatus"] == "COMPLETED":
                    output = urlsplit(job["outputS3Uri"])
                    key = f"{output.path.strip('/')}/job-output-manifest.json"
                    one.recorded = json.loads(s3.get_object(Bucket=output.netloc, Key=key)["Body"].read())
                    own = (job["endedAt"] - job["submittedAt"]).total_seconds()
                    one.recorded["seconds"] = time.monotonic() - one.at - own
        left = [one for one in left if not one.recorded]
    return [one.recorded["seconds"] for one in waiting]


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench end_to_end", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", default="1,100,1000,5000", help="objects of one association (1,100,1000,5000)")
    parser.add_argument("--associations", default="1,20,100", help=f"at once, of {_OBJECTS_OF_MANY} objects each (1,20,100)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--timer-seconds", type=float, default=60, help="of the reference's pattern (60); 0 leaves it out")
    arguments = parser.parse_args()
    kept = results.Results("end_to_end", timer_seconds=arguments.timer_seconds)
    console, run = Console(stderr=True), int(time.time())
    with tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-") as folder:
        stack = RunningStack.start(Path(folder))
        try:
            with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as catalog:
                measured = Measured(stack, catalog)
                measured.send(10, 1, run)  # the Lambdas are warm afterwards
                cells = [(int(objects), 1) for objects in arguments.objects.split(",")]
                cells += [(_OBJECTS_OF_MANY * int(n), int(n)) for n in arguments.associations.split(",")]
                seen: list[Association] = []
                for number in range(arguments.rounds):
                    for objects, associations in cells:
                        run += 1
                        console.print(f"round {number + 1}: {objects} objects over {associations} association(s)")
                        statements = measured.statements()
                        ended = measured.send(objects, associations, run)
                        spent = [measured.seconds(one) for one in ended]
                        work = [measured.work(one) for one in ended]
                        figures = {
                            "objects": objects,
                            "seconds_median": statistics.median(spent),
                            "seconds_most": max(spent),
                            "statements": (measured.statements() - statements) / associations,
                            **{name: statistics.mean(one[name] for one in work) for name in work[0]},
                        }
                        kept.add(OURS, f"{objects // associations} objects each", associations, figures)
                        seen += ended
                if arguments.timer_seconds:
                    console.print("the reference's pattern")
                    some = seen[-20:]
                    prefixes = [catalog.import_jobs(one.association)[0].input_s3_uri for one in some]
                    for seconds in timer_pattern(stack, some, prefixes, arguments.timer_seconds):
                        kept.add(TIMER, "any number of objects", 20, {"seconds_median": seconds})
        finally:
            stack.stop()
    console.print(f"Kept in {kept.save()}. `./dev bench report` writes docs/benchmarks.md.")


if __name__ == "__main__":
    main()
