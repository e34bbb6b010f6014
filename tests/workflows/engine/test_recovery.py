"""What a crash leaves of running executions: everything. The log is cut at each commit, and opened again."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from local.stepfunctions import Engine, FakeClock, TaskError
from local.stepfunctions.log import EventLog
from local.stepfunctions.names import execution_arn, machine_arn
from local.stepfunctions.testing import Stubs, outcome
from tests.support.machines import child, fail, machine, map_, parallel, pass_, task, text, wait

if TYPE_CHECKING:
    from pathlib import Path

Json = Any

PAYLOAD = {"of": "{% $states.input %}", "retries": "{% $states.context.State.RetryCount %}"}
CALL: dict[str, Any] = {"Arguments": {"FunctionName": "F", "Payload": PAYLOAD}}
RETRY = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 20, "MaxAttempts": 5}]

CHILD = machine(wait("Poll", 30, Output=7), task("Collect", **CALL), pass_("Done", Output={"collected": "{% $states.input %}"}))

EVERYTHING = machine(
    pass_("Prepare", Assign={"token": "{% $uuid() %}", "n": 1}, Output={"items": [1, 2, 3]}),
    parallel(
        "Both",
        [
            map_(
                "Index",
                "{% $states.input.items %}",
                task("Slice", Retry=RETRY, **CALL),
                wait("Breathe", "{% $states.context.Map.Item.Index %}", Output="{% [$states.input, $n, $length($token)] %}"),
                MaxConcurrency=2,
            )
        ],
        [child("Import", machine_arn("child"), Arguments={"Name": "{% $states.context.Execution.Name & '-child' %}"})],
    ),
    map_(
        "Again",
        ["a", "b"],
        {
            "Name": "Doomed",
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.retries = 0 and $states.input.index = 1 %}", "Next": "Bad"}],
            "Default": "Rest",
        },
        fail("Bad", "Again"),
        wait("Rest", 3),
        ItemSelector={"index": "{% $states.context.Map.Item.Index %}", "retries": "{% $states.context.State.RetryCount %}"},
        Retry=[{"ErrorEquals": ["Again"], "IntervalSeconds": 7}],
    ),
    parallel(
        "Guarded", [wait("Never", 9999)], [wait("Soon", 5), fail("No")], Catch=[{"ErrorEquals": ["Broken"], "Next": "End"}]
    ),
    {"Name": "End", "Type": "Succeed", "Output": {"both": "{% $both %}", "error": "{% $states.input.Error %}"}},
)
EVERYTHING["States"]["Both"] |= {"Assign": {"both": "{% $states.result %}"}}

EXPECTED = {"both": [[[1, 1, 36], [2, 1, 36], [3, 1, 36]], {"collected": 7}], "error": "Broken"}
EXPECTED_SECONDS = 20 + 40 + 1 + 7 + 3 + 5  # two retries of the second slice and its wait, the Map's retry, the guarded part


def lambdas() -> Stubs:
    """The second slice is busy twice: known by the retry count, for what a process counts is gone with it."""

    def work(payload: Json) -> Json:
        if payload["of"] == 2 and payload["retries"] < 2:
            raise TaskError("Busy")
        return payload["of"]

    return Stubs(functions={"F": work})


def test_an_execution_goes_on_from_every_point_at_which_it_can_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit of one run is a place where a crash may come: from each the engine gets to the same output."""
    cuts: list[tuple[Path, float]] = []
    commit = EventLog.commit
    clock = FakeClock()

    def copying_commit(self: EventLog) -> None:
        commit(self)
        path = tmp_path / f"{self._connection.total_changes}.sqlite"
        if not path.exists():
            with closing(sqlite3.connect(path)) as copy:
                self._connection.backup(copy)
            cuts.append((path, clock.now()))

    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "commit", copying_commit)
        with Engine(lambdas(), clock=clock) as engine:
            engine.create_state_machine("child", text(CHILD))
            parent = engine.create_state_machine("parent", text(EVERYTHING))
            arn = engine.start_execution(parent.arn, name="p").arn
            engine.wait(arn)
            whole = outcome(engine, arn)
            assert (whole.output, whole.seconds) == (EXPECTED, EXPECTED_SECONDS)

    started = [cut for cut in cuts if has_started(cut[0])]
    assert len(started) > 20
    for path, at in started:
        with Engine(lambdas(), log_path=path, clock=FakeClock(at)) as engine:
            engine.wait(arn)
            again = outcome(engine, arn)
            assert again.output == EXPECTED, f"cut at {path.stem}"
            assert again.seconds == EXPECTED_SECONDS, f"cut at {path.stem}"
            assert [event["id"] for event in again.history] == list(range(1, len(again.history) + 1))
            assert Counter(again.types()) == Counter(whole.types()), f"cut at {path.stem}"
            assert outcome(engine, execution_arn("child", "p-child")).status == "SUCCEEDED"


def has_started(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def test_a_wait_ends_at_its_original_time(tmp_path: Path) -> None:
    log, clock = tmp_path / "log.sqlite", FakeClock(jumps=False)
    with Engine(Stubs(), log_path=log, clock=clock) as engine:
        arn = engine.start_execution(engine.create_state_machine("m", text(machine(wait("W", 100)))).arn).arn
        clock.advance(40)
    clock = FakeClock(clock.now() + 30, jumps=False)
    with Engine(Stubs(), log_path=log, clock=clock) as engine:
        clock.advance(29)
        assert engine.execution(arn).status == "RUNNING"
        clock.advance(1)
        assert engine.execution(arn).status == "SUCCEEDED"
        assert outcome(engine, arn).seconds == 100


def test_a_task_in_flight_is_called_again_with_the_same_arguments(tmp_path: Path) -> None:
    log, clock = tmp_path / "log.sqlite", FakeClock(jumps=False)
    calls: list[Json] = []

    async def never(_resource: str, arguments: Json) -> Json:
        calls.append(arguments)
        await clock.sleep(1e9)

    definition = machine(task("T", Arguments={"FunctionName": "F", "Payload": "{% $uuid() %}"}))
    with Engine(never, log_path=log, clock=clock) as engine:
        arn = engine.start_execution(engine.create_state_machine("m", text(definition)).arn).arn
        clock.advance(1)
    stubs = Stubs(functions={"F": lambda payload: payload})
    with Engine(stubs, log_path=log, clock=FakeClock()) as engine:
        engine.wait(arn)
        assert outcome(engine, arn).output == calls[0]["Payload"]
        assert outcome(engine, arn).types().count("TaskScheduled") == 1


def test_the_machines_timeout_counts_from_the_start(tmp_path: Path) -> None:
    log, clock = tmp_path / "log.sqlite", FakeClock(jumps=False)
    with Engine(Stubs(), log_path=log, clock=clock) as engine:
        definition = machine(wait("W", 1000), TimeoutSeconds=100)
        arn = engine.start_execution(engine.create_state_machine("m", text(definition)).arn).arn
        clock.advance(40)
    with Engine(Stubs(), log_path=log, clock=FakeClock(clock.now())) as engine:
        assert engine.wait(arn).status == "TIMED_OUT"
        assert outcome(engine, arn).seconds == 100


def test_what_has_ended_and_every_machine_is_there_again(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite"
    with Engine(Stubs(), log_path=log, clock=FakeClock()) as engine:
        arn = engine.create_state_machine("m", text(machine(pass_("A", Output=1)))).arn
        first = engine.start_execution(arn, name="first").arn
        engine.wait(first)
        engine.update_state_machine(arn, definition=text(machine(pass_("A", Output=2))))
        second = engine.start_execution(arn, name="second").arn
        engine.wait(second)
        before = [outcome(engine, each) for each in (first, second)]
    with Engine(Stubs(), log_path=log, clock=FakeClock()) as engine:
        assert [outcome(engine, each) for each in (first, second)] == before
        assert [each.name for each in engine.executions(arn)] == ["second", "first"]
        assert json.loads(engine.state_machine(arn).text)["States"]["A"]["Output"] == 2


def test_a_running_execution_keeps_the_definition_it_started_with(tmp_path: Path) -> None:
    log, clock = tmp_path / "log.sqlite", FakeClock(jumps=False)
    with Engine(Stubs(), log_path=log, clock=clock) as engine:
        machine_ = engine.create_state_machine("m", text(machine(wait("W", 100), pass_("A", Output="old"))))
        arn = engine.start_execution(machine_.arn).arn
        engine.update_state_machine(machine_.arn, definition=text(machine(pass_("Other"))))
        clock.advance(1)
    with Engine(Stubs(), log_path=log, clock=FakeClock()) as engine:
        engine.wait(arn)
        assert outcome(engine, arn).output == "old"


def test_a_log_in_use_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite"
    with Engine(Stubs(), log_path=log), pytest.raises(RuntimeError, match="Does another engine use this folder"):
        Engine(Stubs(), log_path=log)


def test_the_log_takes_no_change_of_what_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite"
    with Engine(Stubs(), log_path=log, clock=FakeClock()) as engine:
        engine.wait(engine.start_execution(engine.create_state_machine("m", text(machine(pass_("A")))).arn).arn)
    with closing(sqlite3.connect(log)) as connection:
        for statement in ("UPDATE event SET type = 'x'", "DELETE FROM event", "DELETE FROM machine_event"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
