"""What depends on time or on a crash between two steps: client tokens, jobs that are run again, events."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from local.healthimaging.datastores import Datastores
from local.healthimaging.errors import ServiceError
from local.healthimaging.faults import Faults, FaultsError
from local.healthimaging.headers import Header, read_header
from local.healthimaging.import_jobs import ImportJobs
from local.healthimaging.placement import place
from local.healthimaging.settings import Settings
from local.healthimaging.store import Store, StoreError
from local.healthimaging.validation import Page
from tests.support.healthimaging import ROLE, part10

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATASTORE = "d" * 32
REQUEST = {"dataAccessRoleArn": ROLE, "clientToken": "t", "inputS3Uri": "s3://bucket/in/", "outputS3Uri": "s3://bucket/out/"}


class Runner:
    """Takes jobs and leaves them as they are."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def run(self, job_id: str) -> None:
        self.jobs.append(job_id)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.sqlite")
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def jobs(store: Store, runner: Runner, clock: Clock) -> ImportJobs:
    Datastores(store=store, now=clock).ensure(DATASTORE)
    return ImportJobs(store=store, runner=runner, settings=Settings(), faults=Faults(), now=clock)


def start(jobs: ImportJobs, **changes: Any) -> str:
    job_id: str = jobs.start(DATASTORE, REQUEST | changes)["jobId"]
    return job_id


def test_a_token_is_remembered_for_a_day(jobs: ImportJobs, runner: Runner, clock: Clock) -> None:
    first = start(jobs)
    clock.seconds += 24 * 3_600 - 1
    assert start(jobs) == first
    clock.seconds += 2
    assert start(jobs, jobName="another-request") != first
    assert len(runner.jobs) == 2


def test_a_token_is_remembered_by_the_whole_request(jobs: ImportJobs) -> None:
    start(jobs)
    for change in ({"jobName": "n"}, {"outputS3Uri": "s3://bucket/elsewhere/"}):
        with pytest.raises(ServiceError) as raised:
            start(jobs, **change)
        assert (raised.value.name, raised.value.status) == ("ConflictException", 409)


def test_a_token_is_kept_through_a_restart(jobs: ImportJobs, store: Store, tmp_path: Path, clock: Clock) -> None:
    first = start(jobs)
    store.close()
    again = Store(tmp_path / "state.sqlite")
    runner = Runner()
    restarted = ImportJobs(store=again, runner=runner, settings=Settings(), faults=Faults(), now=clock)
    assert start(restarted) == first
    assert runner.jobs == []
    again.close()


def test_an_ended_job_is_listed_for_90_days(jobs: ImportJobs, store: Store, clock: Clock) -> None:
    ended, running = start(jobs), start(jobs, clientToken="other")
    with store.transaction() as db:
        db.execute("UPDATE job SET status = 'COMPLETED', ended_at = ? WHERE id = ?", (clock(), ended))

    def listed() -> set[str]:
        return {job["jobId"] for job in jobs.list(DATASTORE, None, Page.asked(None, None))["jobSummaries"]}

    clock.seconds += 90 * 86_400
    assert listed() == {ended, running}
    clock.seconds += 1
    assert listed() == {running}


def test_the_state_of_an_earlier_emulator_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE job (id TEXT)")
    with pytest.raises(StoreError, match=r"old\.sqlite was made by an earlier emulator"):
        Store(path)


def test_a_placement_that_is_rolled_back_leaves_nothing(store: Store) -> None:
    def place_and_crash() -> None:
        with store.transaction() as db:
            place(db, DATASTORE, [_header()], now=1.0, max_metadata_bytes=1000)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        place_and_crash()
    with store.transaction() as db:
        (image_set,), refused = place(db, DATASTORE, [_header()], now=1.0, max_metadata_bytes=1000)
    assert (image_set.version, refused) == (1, [])


@pytest.mark.parametrize(
    "wanted",
    [
        {"no_such_fault": 1},
        {"requests": [{"operation": "StartDICOMImportJob", "error": "Oops"}]},
        {"requests": [{"operation": "Oops", "error": "ThrottlingException"}]},
        {"keys": [{"suffix": "a", "error": "odd"}]},
        {"keys": [{"suffix": "a"}]},
        {"missing_outputs": ["manifest"]},
    ],
)
def test_faults_that_nobody_knows_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(FaultsError):
        Faults().replace(wanted)


def _header() -> Header:
    header = read_header("key", part10(), whole=True)
    assert header is not None
    return header
