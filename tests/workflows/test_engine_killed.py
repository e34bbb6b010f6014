"""kill -9 of the engine's process in the middle of 20 executions of both machines, with the real handlers: all complete."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING, Any

import workflows
from lambdas.catalog.queries import Queries
from tests.support.associations import Placer
from tests.support.aws_endpoint import AwsEndpoint
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT
from tests.support.memory_cloud import MemoryImaging, MemoryS3
from tests.support.rehearsal import HANDLERS, patch_handlers
from tests.workflows.engine.test_process import ROLE_ARN, engine, finished

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from lambdas.catalog import Catalog

EXECUTIONS = 20
CALLS_BEFORE_THE_KILL = 5 * EXECUTIONS  # of about eleven that each needs
DATASTORE_ID = "0" * 32
IMPORT_ROLE_ARN = "arn:aws:iam::000000000000:role/import"


class Cloud:
    """Lambda and HealthImaging over HTTP. From the last call before the kill on, answers wait for it."""

    def __init__(self, imaging: MemoryImaging) -> None:
        self.imaging = imaging
        self.busy, self.killed = threading.Event(), threading.Event()
        self._calls = 0
        self.one_at_a_time = threading.Lock()  # the catalog's connection

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], Any]:
        with self.one_at_a_time:
            self._calls += 1
            late = self._calls > CALLS_BEFORE_THE_KILL
            result = self._act(path, body)
        if late:
            self.busy.set()
            self.killed.wait(60)
        return 200, {}, result

    def _act(self, path: str, body: Any) -> Any:
        segments = path.strip("/").split("/")
        if segments[0] == "startDICOMImportJob":
            started = self.imaging.start({name[:1].upper() + name[1:]: value for name, value in body.items()})
            return {"datastoreId": DATASTORE_ID, "jobId": started["JobId"], "jobStatus": "SUBMITTED", "submittedAt": 1.8e9}
        if segments[0] == "getDICOMImportJob":
            job = self.imaging.get({"JobId": segments[-1]})["JobProperties"]
            return {"jobProperties": {name[:1].lower() + name[1:]: value for name, value in job.items()}}
        return HANDLERS[segments[2]](body, CONTEXT)


def definition(machine: str, import_arn: str = "") -> str:
    values = {name: name.removesuffix("Function") for name in workflows.placeholders(machine)}
    values |= {"PollFirstSeconds": "1", "PollCapSeconds": "1", "SlicesAtOnce": "40", "ImportStateMachineArn": import_arn}
    return workflows.substitute(machine, values | {"DatastoreId": DATASTORE_ID, "ImportRoleArn": IMPORT_ROLE_ARN})


def test_kill_9_in_the_middle_of_20_executions_completes_all_with_one_job_each(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s3: Any = MemoryS3()
    placer = Placer(aws=s3, bucket="images")
    for number in range(EXECUTIONS):
        placer.place([path.read_bytes() for path in ct_series(tmp_path / str(number), 2, pixels=bytes(16))])
    patch_handlers(monkeypatch, catalog=catalog, storage=s3, executions=None)  # no lease is held by another
    cloud = Cloud(MemoryImaging(s3))
    with AwsEndpoint(cloud.answer) as endpoint:
        options = ["--state", str(tmp_path / "engine"), "--lambda-endpoint", endpoint.url]
        options += ["--medical-imaging-endpoint", endpoint.url]
        with engine(*options) as (process, client):
            made = client.create_state_machine(name="import", definition=definition("import"), roleArn=ROLE_ARN)
            ingest = definition("ingest", made["stateMachineArn"])
            arn = client.create_state_machine(name="ingest", definition=ingest, roleArn=ROLE_ARN)["stateMachineArn"]
            started = [
                client.start_execution(stateMachineArn=arn, name=one.association, input=json.dumps(one.document))[
                    "executionArn"
                ]
                for one in placer.placed
            ]
            assert cloud.busy.wait(60)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with cloud.one_at_a_time:
            ended_before = sum(row["status"] == "COMPLETE" for row in rows(catalog, "association"))
        assert ended_before < EXECUTIONS
        cloud.killed.set()
        with engine(*options) as (_, client):
            assert {finished(client, execution)["status"] for execution in started} == {"SUCCEEDED"}
    assert len(cloud.imaging.jobs) == EXECUTIONS
    queries = Queries(catalog)
    assert [row.status for row in queries.associations()] == ["COMPLETE"] * EXECUTIONS
    for one in placer.placed:
        assert {row.import_status for row in queries.stored_objects(one.association)} == {"IMPORTED"}
