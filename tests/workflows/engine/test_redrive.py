"""RedriveExecution: what did not succeed runs again, in the same execution, and nothing else does."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from local.aws import Aws
from local.stepfunctions import ApiError, Engine, FakeClock, StatusChange, TaskError, redrive
from local.stepfunctions.log import EventLog
from local.stepfunctions.names import machine_arn
from local.stepfunctions.server import Server
from local.stepfunctions.testing import Outcome, Stubs, outcome
from tests.support.machines import child, fail, machine, map_, parallel, pass_, task, text, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Json = Any
DAY_SECONDS = 86_400
RETRY = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2}]


class Fragile:
    """A Lambda that fails for the payloads in `broken`, until they are repaired."""

    def __init__(self, *broken: Json) -> None:
        self.broken = list(broken)

    def __call__(self, payload: Json) -> Json:
        if payload in self.broken:
            raise TaskError("Busy", "repair me")
        return payload


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fragile() -> Fragile:
    return Fragile()


@pytest.fixture
def stubs(fragile: Fragile) -> Stubs:
    return Stubs(functions={"F": fragile})


@pytest.fixture
def engine(stubs: Stubs, clock: FakeClock) -> Iterator[Engine]:
    with Engine(stubs, clock=clock) as engine:
        yield engine


def ended(engine: Engine, definition: Json, input_: Json = None) -> Outcome:
    arn = engine.create_state_machine("m", text(definition)).arn
    execution = engine.start_execution(arn, name="e", input_text=json.dumps({} if input_ is None else input_))
    engine.wait(execution.arn)
    return outcome(engine, execution.arn)


def redriven(engine: Engine, arn: str) -> Outcome:
    engine.redrive_execution(arn)
    engine.wait(arn)
    return outcome(engine, arn)


def test_it_goes_on_at_the_state_that_failed_with_its_input(engine: Engine, stubs: Stubs, fragile: Fragile) -> None:
    fragile.broken = [2]
    first = ended(engine, machine(task("A", Output=2, Assign={"kept": 7}), task("B", Output="{% $kept %}")), 1)
    assert (first.status, first.error) == ("FAILED", "Busy")
    fragile.broken = []
    again = redriven(engine, first.arn)
    assert (again.status, again.output) == ("SUCCEEDED", 7)
    assert [payload for _, payload in stubs.calls] == [1, 2, 2]
    assert again.states() == ["A", "B"]  # B was entered once, and never left before
    new = again.types()[len(first.types()) :]
    expected = ["ExecutionRedriven", "TaskScheduled", "TaskStarted", "TaskSucceeded", "TaskStateExited", "ExecutionSucceeded"]
    assert new == expected
    assert again.of_type("ExecutionRedriven") == [{"redriveCount": 1}]
    ids = [event["id"] for event in again.history]
    assert ids == list(range(1, len(ids) + 1))


def test_only_iterations_and_branches_that_did_not_succeed_run_again(engine: Engine, stubs: Stubs, fragile: Fragile) -> None:
    fragile.broken = [3]
    both = parallel("Both", [map_("Each", [1, 2, 3, 4], task("T"), MaxConcurrency=1)], [task("Other", Arguments=arguments(9))])
    first = ended(engine, machine(both))
    assert first.status == "FAILED"
    fragile.broken = []
    stubs.calls.clear()
    again = redriven(engine, first.arn)
    assert again.output == [[1, 2, 3, 4], 9]
    assert [payload for _, payload in stubs.calls] in ([3, 4], [9, 3, 4], [3, 9, 4], [3, 4, 9])  # 9, if it was stopped
    assert again.types().count("MapIterationSucceeded") == 4
    assert again.types().count("MapStateStarted") == again.types().count("ParallelStateStarted") == 1


def arguments(payload: Json) -> dict[str, Any]:
    return {"FunctionName": "F", "Payload": payload}


def test_retries_are_counted_anew(engine: Engine, stubs: Stubs, fragile: Fragile) -> None:
    fragile.broken = [1]
    first = ended(engine, machine(task("A", Retry=RETRY)), 1)
    assert len(stubs.calls) == 3
    assert redriven(engine, first.arn).status == "FAILED"
    assert len(stubs.calls) == 6


def test_a_state_that_would_fail_again_fails_again_and_can_be_redriven_again(engine: Engine) -> None:
    first = ended(engine, machine(pass_("P"), fail("No")))
    for count in (1, 2):
        again = redriven(engine, first.arn)
        assert (again.status, again.error) == ("FAILED", "Broken")
        assert again.of_type("ExecutionRedriven")[-1] == {"redriveCount": count}


def test_a_sync_step_starts_a_new_child_whose_name_is_evaluated_again(engine: Engine, fragile: Fragile) -> None:
    fragile.broken = [1]
    import_arn = engine.create_state_machine("child", text(machine(task("C")))).arn
    first = ended(engine, machine(child("Run", machine_arn("child"), Arguments={"Name": "{% 'c-' & $uuid() %}"})), 1)
    assert first.status == "FAILED"
    fragile.broken = []
    again = redriven(engine, first.arn)
    assert (again.status, again.output) == ("SUCCEEDED", 1)
    newest, oldest = engine.executions(import_arn)
    assert (oldest.status, newest.status) == ("FAILED", "SUCCEEDED")
    assert oldest.name != newest.name


def test_the_machines_timeout_begins_again(engine: Engine, clock: FakeClock) -> None:
    first = ended(engine, machine(wait("W", 150), TimeoutSeconds=100))
    assert (first.status, first.seconds) == ("TIMED_OUT", 100)
    again = redriven(engine, first.arn)
    assert (again.status, again.seconds) == ("SUCCEEDED", 150)  # the Wait ends when it was meant to: an assumption, see README


def test_a_stopped_execution_goes_on_where_it_stood(clock: FakeClock, engine: Engine) -> None:
    clock.stop()
    arn = engine.create_state_machine("m", text(machine(pass_("P"), wait("W", 60), pass_("Q", Output="done")))).arn
    execution = engine.start_execution(arn, name="e")
    clock.advance(10)
    engine.stop_execution(execution.arn)
    engine.redrive_execution(execution.arn)
    assert engine.execution(execution.arn).stopped_at is None
    clock.advance(50)
    engine.wait(execution.arn)
    again = outcome(engine, execution.arn)
    assert (again.status, again.output, again.states()) == ("SUCCEEDED", "done", ["P", "W", "Q"])


def test_it_uses_the_definition_of_the_original_attempt(engine: Engine, fragile: Fragile) -> None:
    fragile.broken = [1]
    first = ended(engine, machine(task("A"), pass_("B", Output="old")), 1)
    engine.update_state_machine(machine_arn("m"), definition=text(machine(pass_("A", Output="new"))))
    fragile.broken = []
    assert redriven(engine, first.arn).output == "old"


def test_the_context_object_tells_of_the_redrive(engine: Engine, fragile: Fragile) -> None:
    fragile.broken = [1]
    context = "{% [$states.context.Execution.RedriveCount, $exists($states.context.Execution.RedriveTime)] %}"
    first = ended(engine, machine(task("A"), pass_("B", Output=context)), 1)
    fragile.broken = []
    assert redriven(engine, first.arn).output == [1, True]


def _running(engine: Engine, clock: FakeClock) -> str:
    clock.stop()
    arn = engine.create_state_machine("m", text(machine(wait("W", 60)))).arn
    return engine.start_execution(arn).arn


def _succeeded(engine: Engine, _clock: FakeClock) -> str:
    return ended(engine, machine(pass_("P"))).arn


def _old(engine: Engine, clock: FakeClock) -> str:
    arn = ended(engine, machine(fail("No"))).arn
    clock.advance(14 * DAY_SECONDS + 1)
    return arn


def _a_year(engine: Engine, clock: FakeClock) -> str:
    arn = ended(engine, machine(wait("W", 364 * DAY_SECONDS), fail("No"))).arn
    clock.advance(2 * DAY_SECONDS)
    return arn


def _long(engine: Engine, _clock: FakeClock) -> str:
    """Its events are those of 25,000, counted from less: a run of so many takes too long for a test."""
    return ended(engine, machine(*(pass_(f"P{number}") for number in range(20)), fail("No"))).arn


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_running, "Execution is RUNNING and cannot be redriven"),
        (_succeeded, "Execution is SUCCEEDED and cannot be redriven"),
        (_old, "Execution redrivable period exceeded"),
        (_a_year, "Execution has exceeded the max execution time"),
        (_long, "Execution history event limit exceeded"),
    ],
)
def test_what_aws_refuses_is_refused_and_said_beforehand(
    engine: Engine,
    clock: FakeClock,
    make: Callable[[Engine, FakeClock], str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert redrive.MAX_EVENTS_TO_REDRIVE == 24_999
    monkeypatch.setattr(redrive, "MAX_EVENTS_TO_REDRIVE", 43)  # what _long has: 1 + 20 x 2 + 2
    arn = make(engine, clock)
    server = Server(engine)
    client = Aws(server.endpoint_url).stepfunctions
    try:
        described = client.describe_execution(executionArn=arn)
        assert (described["redriveStatus"], described["redriveStatusReason"]) == ("NOT_REDRIVABLE", reason)
        with pytest.raises(client.exceptions.ExecutionNotRedrivable, match=reason):
            client.redrive_execution(executionArn=arn)
    finally:
        client.close()
        server.close()


def test_the_api_shows_count_and_date_and_takes_a_client_token_once(engine: Engine, clock: FakeClock) -> None:
    arn = ended(engine, machine(fail("No"))).arn
    server = Server(engine)
    client = Aws(server.endpoint_url).stepfunctions
    try:
        clock.advance(60)
        date = client.redrive_execution(executionArn=arn, clientToken="t")["redriveDate"]
        engine.wait(arn)
        clock.advance(60)
        assert client.redrive_execution(executionArn=arn, clientToken="t")["redriveDate"] == date
        described = client.describe_execution(executionArn=arn)
        listed = client.list_executions(stateMachineArn=machine_arn("m"))["executions"][0]
        for shown in (described, listed):
            assert (shown["redriveCount"], shown["redriveDate"]) == (1, date)
        clock.advance(15 * 60)
        assert client.redrive_execution(executionArn=arn, clientToken="t")["redriveDate"] > date
    finally:
        client.close()
        server.close()


def test_one_event_less_than_the_limit_can_be_redriven(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "MAX_EVENTS_TO_REDRIVE", 4)
    assert redriven(engine, ended(engine, machine(fail("No"))).arn).of_type("ExecutionRedriven") == [{"redriveCount": 1}]


def test_the_last_ten_client_tokens_are_remembered(engine: Engine) -> None:
    arn = ended(engine, machine(fail("No"))).arn
    for number in range(11):
        engine.redrive_execution(arn, client_token=f"t{number}")
        engine.wait(arn)
    engine.redrive_execution(arn, client_token="t1")
    assert len(engine.execution(arn).redrives) == 11
    engine.redrive_execution(arn, client_token="t0")
    assert len(engine.execution(arn).redrives) == 12


def test_status_changes_carry_the_redrive(stubs: Stubs, clock: FakeClock) -> None:
    changes: list[StatusChange] = []
    with Engine(stubs, clock=clock, on_status_change=changes.append) as engine:
        redriven(engine, ended(engine, machine(fail("No"))).arn)
        engine.state_machines()  # one more turn: what was to be told has been
    told = [(one.status, one.detail["redriveCount"], one.detail["redriveStatus"]) for one in changes]
    not_, can = "NOT_REDRIVABLE", "REDRIVABLE"
    assert told == [("RUNNING", 0, not_), ("FAILED", 0, can), ("RUNNING", 1, not_), ("FAILED", 1, can)]
    assert [one.detail["redriveDate"] is None for one in changes] == [True, True, False, False]


def test_a_crash_at_any_commit_of_a_redrive_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    definition = machine(map_("Each", [1, 2, 3], task("T"), wait("W", 5, Output="{% $states.input %}"), MaxConcurrency=1))
    fragile = Fragile(2)
    whole = tmp_path / "whole.sqlite"
    with Engine(Stubs(functions={"F": fragile}), log_path=whole, clock=clock) as engine:
        first = ended(engine, definition)
        fragile.broken = []
        assert redriven(engine, first.arn).output == [1, 2, 3]
    with closing(sqlite3.connect(whole)) as connection:
        rows = connection.execute("SELECT * FROM event ORDER BY sequence").fetchall()
        machines = connection.execute("SELECT * FROM machine_event").fetchall()
    begin = next(index for index, row in enumerate(rows) if row[5] == "ExecutionRedriven")
    cuts = range(begin + 1, len(rows))
    assert len(cuts) > 10
    for cut in cuts:
        path = tmp_path / f"{cut}.sqlite"
        EventLog(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.executemany("INSERT INTO machine_event VALUES (?, ?, ?, ?, ?, ?)", machines)
            connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows[:cut])
            connection.commit()
        with Engine(Stubs(functions={"F": fragile}), log_path=path, clock=FakeClock()) as engine:
            engine.wait(first.arn)
            recovered = outcome(engine, first.arn)
            assert (recovered.status, recovered.output) == ("SUCCEEDED", [1, 2, 3])
            assert len(engine.execution(first.arn).redrives) == 1


def test_an_ended_redrive_is_known_after_a_crash(tmp_path: Path, stubs: Stubs) -> None:
    path = tmp_path / "log.sqlite"
    with Engine(stubs, log_path=path, clock=FakeClock()) as engine:
        arn = redriven(engine, ended(engine, machine(fail("No"))).arn).arn
    with Engine(stubs, log_path=path, clock=FakeClock()) as engine:
        assert len(engine.execution(arn).redrives) == 1
        with pytest.raises(ApiError):
            engine.redrive_execution(f"{arn}-missing")
        assert redriven(engine, arn).of_type("ExecutionRedriven")[-1] == {"redriveCount": 2}
