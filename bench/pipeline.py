"""A local stack that is measured: associations are sent to it, and its parts say what they did for each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pymysql

from lambdas.catalog.queries import Association, Queries
from local.aws import Aws

_WITHIN_SECONDS = 900
_LOOK_SECONDS = 0.5
_LISTED = 10_000
_OPEN = ("REGISTERED", "RUNNING")


class Pipeline:
    """A stack that runs, by its `endpoints.json`."""

    def __init__(self, endpoints: Mapping[str, Any], catalog: Queries) -> None:
        self.endpoints, self.catalog = endpoints, catalog
        self.aws = Aws(endpoints["aws"]["endpoint_url"])
        self._engine = Aws(endpoints["stepfunctions"]["endpoint_url"]).stepfunctions
        self._imaging = Aws(endpoints["medical_imaging"]["endpoint_url"]).medical_imaging

    def send(self, objects: int, associations: int, run: int) -> list[Association]:
        """Send tiny objects over so many associations at once, and wait until each has its verdict."""
        known = {one.association for one in self.catalog.associations(_LISTED)}
        port = self.endpoints["dicom"]["port"]
        sender = [sys.executable, "-m", "bench.sender", "dicom", str(port), f"tiny:{objects}", str(associations), str(run)]
        sender.append("cold")  # so that there are no more objects than these
        subprocess.run(sender, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
        deadline = time.monotonic() + _WITHIN_SECONDS
        while True:
            new = [one for one in self.catalog.associations(_LISTED) if one.association not in known]
            ended = [one for one in new if one.status not in _OPEN and one.objects > 0]
            if len(ended) >= associations:
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(ended)} of {associations} associations have ended after {_WITHIN_SECONDS} s")
            time.sleep(_LOOK_SECONDS)
        if failed := [one for one in ended if one.status != "COMPLETE"]:
            raise SystemExit(f"{failed[0].association} is {failed[0].status}: {failed[0].error}")
        return ended

    def statements(self) -> int:
        """SQL statements that the server has run, within procedures too; ours for looking are a few of each run's hundreds."""
        address = {name: self.endpoints["mysql"][name] for name in ("host", "port", "user", "password")}
        with closing(pymysql.connect(**address)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Queries'")
            return int((cursor.fetchone() or ("", 0))[1])

    def seconds(self, association: Association) -> float:
        """From its end to its verdict, less its import jobs' own time."""
        assert association.ended_at is not None  # noqa: S101 - it has a manifest
        datastore, own = self.endpoints["medical_imaging"]["datastore_id"], 0.0
        for job in self.catalog.import_jobs(association.association):
            answer = self._imaging.get_dicom_import_job(datastoreId=datastore, jobId=str(job.job_id))["jobProperties"]
            own += (answer["endedAt"] - answer["submittedAt"]).total_seconds()
        return (association.status_changed_at - association.ended_at).total_seconds() - own

    def transitions(self, association: Association) -> int:
        """State transitions of its execution and of those that this one started."""
        counts: Counter[str] = Counter()
        children = [str(job.execution_arn) for job in self.catalog.import_jobs(association.association)]
        for arn in dict.fromkeys([str(association.execution_arn), *children]):
            pages = self._engine.get_paginator("get_execution_history").paginate(executionArn=arn)
            counts.update(event["type"] for page in pages for event in page["events"])
        return sum(count for kind, count in counts.items() if kind.endswith("StateEntered"))
