"""`ahi-ingest up`: ready with everything that it says, one at a time, and killed without loss or leftovers."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pymysql
import pytest

from local.processes import accepts
from receiver.dicom.sender import send
from tests.support.dicom import ct_series
from tests.support.stack import COMMAND, ENDED_WITHIN_SECONDS, RunningStack, commands, descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ENDED_WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not {what} in {ENDED_WITHIN_SECONDS} s"
        time.sleep(0.1)


def send_slices(stack: RunningStack, folder: Path, count: int) -> None:
    """Send a series in one association."""
    host, port = stack.dicom_address
    results = list(send(ct_series(folder, count), host=host, port=port, calling_ae="TEST", called_ae="ANY"))
    assert [result.status for result in results] == [0] * count


def manifests(stack: RunningStack) -> list[str]:
    listed = stack.aws.s3.list_objects_v2(Bucket=stack.endpoints["bucket"], Prefix="manifests/").get("Contents", [])
    return [item["Key"] for item in listed if item["Key"].endswith("/manifest.json")]


def ledger(stack: RunningStack) -> dict[str, int]:
    """How many objects of each association have an image set."""
    mysql = {key: stack.endpoints["mysql"][key] for key in ("host", "port", "user", "password", "database")}
    query = "SELECT association, COUNT(image_set_id) FROM stored_object GROUP BY association"
    with pymysql.connect(**mysql) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return dict(cursor.fetchall())


def test_everything_that_it_says_answers(stack: RunningStack) -> None:
    endpoints = stack.endpoints
    assert accepts(endpoints["dicom"]["port"])()
    stack.aws.s3.head_bucket(Bucket=endpoints["bucket"])
    for url in endpoints["queues"].values():
        stack.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    for arn in endpoints["state_machines"].values():
        stack.engine.stepfunctions.describe_state_machine(stateMachineArn=arn)
    stack.healthimaging.medical_imaging.get_datastore(datastoreId=endpoints["medical_imaging"]["datastore_id"])
    assert isinstance(ledger(stack), dict)


def test_a_second_one_on_the_same_folder_is_refused_and_leaves_the_first_alone(stack: RunningStack) -> None:
    second = subprocess.run([COMMAND, "up", "--state", stack.state], capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Another `ahi-ingest up` runs on" in second.stderr
    assert json.loads((stack.state / "endpoints.json").read_text()) == stack.endpoints


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("-m receiver", "the receiver"),
        ("-m local.stepfunctions", "the Step Functions engine"),
        ("-m local.healthimaging", "the HealthImaging emulator"),
    ],
)
def test_a_program_that_dies_is_told_of_and_started_again(stack: RunningStack, program: str, name: str) -> None:
    before = descendants(stack.process.pid)
    stack.kill_program(program)

    def started_again() -> bool:
        now = descendants(stack.process.pid)
        return any(program in command for pid, command in now.items() if pid not in before) and answers(stack)

    wait_until(started_again, f"started {name} again")
    assert f"{name} died, with code" in (stack.state / "up.log").read_text()


def answers(stack: RunningStack) -> bool:
    ports = [stack.endpoints["dicom"]["port"]]
    ports += [int(stack.endpoints[part]["endpoint_url"].rpartition(":")[2]) for part in ("stepfunctions", "medical_imaging")]
    return all(accepts(port)() for port in ports)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that was killed with one association recorded and one announced, and is ready again."""
    folder = tmp_path_factory.mktemp("killed")
    first = RunningStack.start(folder / "state")
    try:
        send_slices(first, folder / "recorded", 3)
        first.wait_for_executions(1)
        mappings = first.aws.functions.list_event_source_mappings(FunctionName="ahi-ingest-local-StartExecution")
        (mapping,) = mappings["EventSourceMappings"]
        first.aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        send_slices(first, folder / "announced", 2)
        wait_until(lambda: len(manifests(first)) == 2, "uploaded")
        assert len(first.executions()) == 1
    finally:
        first.kill()
    with first.again() as again:
        yield again


def test_after_kill_9_everything_is_kept_and_what_was_not_started_is_announced_again(killed: RunningStack) -> None:
    executions = killed.wait_for_executions(2)
    assert executions == {key.split("/")[2]: "SUCCEEDED" for key in manifests(killed)}
    assert sorted(ledger(killed).values()) == [2, 3]
    assert "Announced again: 1 association" in (killed.state / "up.log").read_text()


def test_without_its_database_it_ends_with_a_reason_and_leaves_nothing_behind(killed: RunningStack) -> None:
    programs = descendants(killed.process.pid)
    killed.kill_program("mariadbd")
    assert killed.process.wait(ENDED_WITHIN_SECONDS) == 1
    assert "MariaDB died, with code" in (killed.state / "up.log").read_text()
    assert not (killed.state / "endpoints.json").exists()
    assert not programs.items() & commands().items()
