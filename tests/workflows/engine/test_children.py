"""`startExecution.sync:2`: a parent, its child, and what each learns of the other."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from local.stepfunctions import Engine, FakeClock, StatusChange, TaskError
from local.stepfunctions.names import machine_arn
from local.stepfunctions.testing import Outcome, Stubs, outcome
from tests.support.machines import child, fail, machine, parallel, pass_, task, text, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = machine_arn("child")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(Stubs(), clock=FakeClock()) as engine:
        yield engine


def start(engine: Engine, parent: Any, child_definition: Any, input_: Any = None) -> Outcome:
    engine.create_state_machine("child", text(child_definition))
    execution = engine.start_execution(
        engine.create_state_machine("parent", text(parent)).arn, name="p", input_text=json.dumps(input_ or {})
    )
    engine.wait(execution.arn)
    return outcome(engine, execution.arn)


def test_the_childs_output_is_json_in_the_parents_result(engine: Engine) -> None:
    parent = machine(child("C", CHILD, Arguments={"Name": "{% 'c-' & $states.input.id %}"}, Output="{% $states.result %}"))
    result = start(engine, parent, machine(wait("W", 7), pass_("P", Output={"got": "{% $states.input %}"})), {"id": 5})
    assert result.seconds == 7
    assert result.output == {
        "ExecutionArn": "arn:aws:states:us-east-1:000000000000:execution:child:c-5",
        "Input": {"id": 5},
        "InputDetails": {"Included": True},
        "Name": "c-5",
        "Output": {"got": {"id": 5}},
        "OutputDetails": {"Included": True},
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE",
        "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
        "StartDate": 1_800_000_000_000,
        "StateMachineArn": CHILD,
        "Status": "SUCCEEDED",
        "StopDate": 1_800_000_007_000,
    }
    assert result.types()[2:6] == ["TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"]


def test_a_child_without_input_gets_an_empty_object(engine: Engine) -> None:
    result = start(engine, machine(child("C", CHILD, Arguments={"Input": None})), machine(pass_("P")))
    assert result.output == {}


def test_a_childs_failure_is_states_task_failed_with_its_description(engine: Engine) -> None:
    result = start(engine, machine(child("C", CHILD)), machine(fail("F", "Import.Failed", "why")))
    assert result.error == "States.TaskFailed"
    assert result.cause is not None
    cause = json.loads(result.cause)
    assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "Import.Failed", "why")
    assert isinstance(cause["Input"], str)


def test_a_name_in_use_fails_the_submission(engine: Engine) -> None:
    engine.create_state_machine("child", text(machine(pass_("A"))))
    engine.wait(engine.start_execution(CHILD, name="taken").arn)
    result = start(engine, machine(child("C", CHILD, Arguments={"Name": "taken"})), machine(pass_("A")))
    assert result.error == "StepFunctions.ExecutionAlreadyExistsException"
    assert "TaskSubmitFailed" in result.types()


def test_a_machine_that_does_not_exist_fails_the_submission(engine: Engine) -> None:
    result = start(engine, machine(child("C", machine_arn("other"))), machine(pass_("A")))
    assert result.error == "StepFunctions.StateMachineDoesNotExistException"


def test_a_siblings_failure_stops_the_child(engine: Engine) -> None:
    parent = machine(parallel("P", [child("C", CHILD, Arguments={"Name": "c"})], [wait("W", 3), fail("F")]))
    result = start(engine, parent, machine(wait("Long", 600)))
    assert (result.error, result.seconds) == ("Broken", 3)
    stopped = outcome(engine, "arn:aws:states:us-east-1:000000000000:execution:child:c")
    assert (stopped.status, stopped.seconds) == ("ABORTED", 3)


def test_a_timeout_of_the_task_stops_the_child(engine: Engine) -> None:
    parent = machine(child("C", CHILD, Arguments={"Name": "c"}, TimeoutSeconds=20))
    result = start(engine, parent, machine(wait("Long", 600)))
    assert (result.error, result.seconds) == ("States.Timeout", 20)
    assert outcome(engine, "arn:aws:states:us-east-1:000000000000:execution:child:c").status == "ABORTED"


def test_stopping_the_parent_stops_the_child_and_nothing_answers_afterwards() -> None:
    clock = FakeClock(jumps=False)
    changes: list[StatusChange] = []
    with Engine(Stubs(), clock=clock, on_status_change=changes.append) as engine:
        engine.create_state_machine("child", text(machine(wait("Long", 600))))
        parent = engine.create_state_machine("parent", text(machine(child("C", CHILD, Arguments={"Name": "c"}))))
        execution = engine.start_execution(parent.arn, name="p", input_text='{"n":1}')
        clock.advance(5)
        engine.stop_execution(execution.arn, error="Operator", cause="told to")
        clock.advance(1000)
        result = outcome(engine, execution.arn)
        assert (result.status, result.error, result.cause) == ("ABORTED", "Operator", "told to")
        assert result.types()[-2:] == ["TaskSubmitted", "ExecutionAborted"]
        assert outcome(engine, "arn:aws:states:us-east-1:000000000000:execution:child:c").status == "ABORTED"
    assert [(change.execution_arn.rpartition(":")[2], change.status) for change in changes] == [
        ("p", "RUNNING"),
        ("c", "RUNNING"),
        ("p", "ABORTED"),
        ("c", "ABORTED"),
    ]
    assert changes[-2].detail == {
        "executionArn": execution.arn,
        "stateMachineArn": parent.arn,
        "name": "p",
        "status": "ABORTED",
        "startDate": 1_800_000_000_000,
        "stopDate": 1_800_000_005_000,
        "input": '{"n":1}',
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": None,
        "error": "Operator",
        "cause": "told to",
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "REDRIVABLE",
        "redriveStatusReason": None,
    }


def test_a_listener_that_raises_does_not_fail_the_execution() -> None:
    def listener(_: StatusChange) -> None:
        raise OSError

    with Engine(Stubs(), clock=FakeClock(), on_status_change=listener) as engine:
        execution = engine.start_execution(engine.create_state_machine("m", text(machine(pass_("A")))).arn)
        assert engine.wait(execution.arn).status == "SUCCEEDED"


def test_an_answer_that_comes_after_the_stop_changes_nothing() -> None:
    called, answer = threading.Event(), threading.Event()

    def invoke(_resource: str, _arguments: Any) -> Any:
        called.set()
        answer.wait(10)
        raise TaskError("Late", "too late")

    with Engine(invoke) as engine:
        execution = engine.start_execution(engine.create_state_machine("m", text(machine(task("T")))).arn)
        assert called.wait(10)
        engine.stop_execution(execution.arn)
        before = engine.history(execution.arn)
        answer.set()
        assert engine.wait(execution.arn).status == "ABORTED"
        assert engine.history(execution.arn) == before
