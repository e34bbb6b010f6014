"""The HealthImaging emulator tells EventBridge's rules of its jobs and image sets, in order and without patient data."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.healthimaging.datastores import Datastores
from local.healthimaging.events import ServiceEvents
from local.healthimaging.faults import Faults
from local.healthimaging.image_sets import ImageSets
from local.healthimaging.import_jobs import ImportJobs
from local.healthimaging.runner import JobRunner
from local.healthimaging.settings import Settings
from local.healthimaging.store import Store
from tests.support.healthimaging import ROLE, part10

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from local.aws import Aws

DATASTORE = "d" * 32


class Recorder:
    """Stands where EventBus stands; tests/integration/test_local_events.py shows that that one reaches the targets."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.last_arrived = threading.Event()

    def deliver(self, *, source: str, detail_type: str, detail: Mapping[str, object], resources: Sequence[str] = ()) -> None:
        assert source == "aws.medical-imaging"
        assert resources == [f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DATASTORE}"]
        self.events.append((detail_type, detail))
        if detail_type in {"Import Job Completed", "Import Job Failed"}:
            self.last_arrived.set()


class Emulator:
    def __init__(self, state: Path, aws: Aws) -> None:
        self.recorder, self.faults, self.store = Recorder(), Faults(), Store(state / "state.sqlite")
        events, settings = ServiceEvents(self.recorder), Settings(job_seconds=0)
        self.runner = JobRunner(
            store=self.store, s3=aws.s3, settings=settings, faults=self.faults, events=events, now=time.time
        )
        self.jobs = ImportJobs(store=self.store, runner=self.runner, settings=settings, faults=self.faults, now=time.time)
        self.image_sets = ImageSets(store=self.store, events=events)
        Datastores(store=self.store, now=time.time).ensure(DATASTORE)

    def run(self, bucket: str, token: str) -> list[tuple[str, Mapping[str, object]]]:
        """The events of one job."""
        self.recorder.events.clear()
        self.recorder.last_arrived.clear()
        uris = {"inputS3Uri": f"s3://{bucket}/in/", "outputS3Uri": f"s3://{bucket}/out/"}
        self.jobs.start(DATASTORE, {"dataAccessRoleArn": ROLE, "clientToken": token, **uris})
        assert self.recorder.last_arrived.wait(10)
        return list(self.recorder.events)


@pytest.fixture
def emulator(tmp_path: Path, aws: Aws) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path, aws)
    yield emulator
    emulator.runner.stop()
    emulator.store.close()


def test_a_job_and_its_image_sets_are_told_of_in_order(emulator: Emulator, aws: Aws, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key="in/a.dcm", Body=part10(PatientName="Doe^Jane"))
    first, again = emulator.run(bucket, "t-1"), emulator.run(bucket, "t-2")
    assert [what for what, _ in first] == [
        *("Import Job Submitted", "Import Job In Progress", "Image Set Created", "Import Job Completed")
    ]
    assert [what for what, _ in again][2] == "Image Set Updated"
    details: dict[str, Any] = dict(first)
    assert [details[what]["jobStatus"] for what in details if what.startswith("Import")] == [
        *("SUBMITTED", "IN_PROGRESS", "COMPLETED")
    ]
    assert set(details["Import Job Completed"]) == {
        *("imagingVersion", "datastoreId", "jobId", "jobName", "jobStatus", "inputS3Uri", "outputS3Uri")
    }
    assert set(details["Image Set Created"]) == {
        *("imagingVersion", "isPrimary", "imageSetVersion", "datastoreId", "imagesetId"),
        *("imageSetState", "imageSetWorkflowStatus"),
    }
    assert details["Image Set Created"]["imageSetVersion"] == "1"
    assert "Doe" not in str(first + again)


def test_a_failed_job_is_told_of_without_its_reason(emulator: Emulator, bucket: str) -> None:
    emulator.faults.replace({"failing_jobs": 1})
    what, detail = emulator.run(bucket, "t-1")[-1]
    assert what == "Import Job Failed"
    assert detail["jobStatus"] == "FAILED"
    assert "message" not in detail


def test_an_image_set_that_is_deleted_is_told_of(emulator: Emulator, aws: Aws, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key="in/a.dcm", Body=part10())
    created: dict[str, Any] = dict(emulator.run(bucket, "t-1"))
    emulator.recorder.events.clear()
    image_set_id = created["Image Set Created"]["imagesetId"]
    emulator.image_sets.delete(DATASTORE, image_set_id)
    assert [(what, detail["imageSetState"], detail["imagesetId"]) for what, detail in emulator.recorder.events] == [
        ("Image Set Deleting", "LOCKED", image_set_id),
        ("Image Set Deleted", "DELETED", image_set_id),
    ]
