"""What depends on time or on a crash between two steps: client tokens, jobs that are run again, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.healthimaging.errors import ServiceError
from local.healthimaging.faults import Faults, FaultsError
from local.healthimaging.headers import Header, read_header
from local.healthimaging.imagesets import place
from local.healthimaging.service import Service
from local.healthimaging.settings import RATES, Rate, Settings
from local.healthimaging.store import Store
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
def service(store: Store, runner: Runner, clock: Clock) -> Service:
    settings = Settings(rates=dict.fromkeys(RATES, Rate(1_000, 1_000)))
    service = Service(store=store, runner=runner, settings=settings, faults=Faults(), now=clock)
    service.ensure_datastore(DATASTORE)
    return service


def start(service: Service, **changes: Any) -> str:
    job_id: str = service.start_dicom_import_job(DATASTORE, REQUEST | changes)["jobId"]
    return job_id


def test_a_token_is_remembered_for_a_day(service: Service, runner: Runner, clock: Clock) -> None:
    first = start(service)
    clock.seconds += 24 * 3_600 - 1
    assert start(service) == first
    clock.seconds += 2
    assert start(service, jobName="another-request") != first
    assert len(runner.jobs) == 2


def test_a_token_is_remembered_by_the_whole_request(service: Service) -> None:
    start(service)
    for change in ({"jobName": "n"}, {"outputS3Uri": "s3://bucket/elsewhere/"}):
        with pytest.raises(ServiceError) as raised:
            start(service, **change)
        assert (raised.value.name, raised.value.status) == ("ConflictException", 409)


def test_a_token_is_kept_through_a_restart(service: Service, store: Store, tmp_path: Path, clock: Clock) -> None:
    first = start(service)
    store.close()
    again = Store(tmp_path / "state.sqlite")
    runner = Runner()
    restarted = Service(store=again, runner=runner, settings=Settings(), faults=Faults(), now=clock)
    assert start(restarted) == first
    assert runner.jobs == []
    again.close()


def test_a_placement_that_is_rolled_back_leaves_nothing(store: Store) -> None:
    def place_and_crash() -> None:
        with store.transaction() as db:
            place(db, DATASTORE, [_header()], now=1.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        place_and_crash()
    with store.transaction() as db:
        (image_set,) = place(db, DATASTORE, [_header()], now=1.0)
    assert image_set.version == 1


@pytest.mark.parametrize(
    "wanted",
    [{"no_such_fault": 1}, {"start_error": "Oops"}, {"keys": [{"suffix": "a", "error": "odd"}]}, {"keys": [{"suffix": "a"}]}],
)
def test_faults_that_nobody_knows_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(FaultsError):
        Faults().replace(wanted)


def _header() -> Header:
    header = read_header("key", part10(), whole=True)
    assert header is not None
    return header
