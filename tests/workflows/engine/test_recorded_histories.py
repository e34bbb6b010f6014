"""Histories as they were recorded on AWS: for each case the event types, in order, each with its previousEventId.

`<` stands before the previousEventId; ids count from 1. The recordings are public (README.md says where they are from).
"""

from __future__ import annotations

from typing import Any

import pytest

from local.aws import service_model
from local.stepfunctions import Engine, FakeClock, TaskError
from local.stepfunctions.testing import Outcome, Stubs, outcome, run
from tests.support.machines import fail, machine, map_, parallel, pass_, task, text, wait
from tests.support.shapes import check_value


def chain(result: Outcome) -> str:
    shape = service_model("stepfunctions").operation_model("GetExecutionHistory").output_shape
    assert shape is not None
    check_value("GetExecutionHistory", {"events": result.history}, shape)
    return " ".join(f"{event['type']}<{event['previousEventId']}" for event in result.history)


def broken(_: Any) -> Any:
    raise TaskError("Exception", "Some exception was raised.")


RETRY_ONCE = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}]


def catch(target: str) -> list[dict[str, Any]]:
    return [{"ErrorEquals": ["States.ALL"], "Next": target}]


MAP_HEAD = "ExecutionStarted<0 MapStateEntered<0 MapStateStarted<2"
PARALLEL_HEAD = "ExecutionStarted<0 ParallelStateEntered<0 ParallelStateStarted<2"

RECORDED: dict[str, tuple[Any, str]] = {
    "a Map whose iterations take no time": (
        machine(map_("M", [1, 2], pass_("P"))),
        (
            f"{MAP_HEAD} MapIterationStarted<3 PassStateEntered<4 PassStateExited<5 MapIterationSucceeded<6"
            " MapIterationStarted<6 PassStateEntered<8 PassStateExited<9 MapIterationSucceeded<10"
            " MapStateSucceeded<11 MapStateExited<11 ExecutionSucceeded<13"
        ),
    ),
    "a Map in a Map": (
        machine(map_("M", [1], map_("N", [1], pass_("P")))),
        (
            f"{MAP_HEAD} MapIterationStarted<3 MapStateEntered<4 MapStateStarted<5 MapIterationStarted<6 PassStateEntered<7"
            " PassStateExited<8 MapIterationSucceeded<9 MapStateSucceeded<10 MapStateExited<10 MapIterationSucceeded<12"
            " MapStateSucceeded<13 MapStateExited<13 ExecutionSucceeded<15"
        ),
    ),
    "a Map whose failure is caught": (
        machine(map_("M", [1], fail("F"), Catch=catch("C")), pass_("C")),
        (
            f"{MAP_HEAD} MapIterationStarted<3 FailStateEntered<4 MapIterationFailed<5 MapStateFailed<5 MapStateExited<7"
            " PassStateEntered<8 PassStateExited<9 ExecutionSucceeded<10"
        ),
    ),
    "a Map that is tried again": (
        machine(map_("M", [1], fail("F"), Retry=RETRY_ONCE)),
        (
            f"{MAP_HEAD} MapIterationStarted<3 FailStateEntered<4 MapIterationFailed<5 MapStateStarted<5"
            " MapIterationStarted<7 FailStateEntered<8 MapIterationFailed<9 MapStateFailed<9 ExecutionFailed<11"
        ),
    ),
    "a Map whose Items are no array": (
        machine(map_("M", "{% 1 %}", pass_("P"))),
        "ExecutionStarted<0 MapStateEntered<0 EvaluationFailed<0 MapStateFailed<3 ExecutionFailed<4",
    ),
    "a Parallel whose branch fails": (
        machine(parallel("P", [fail("F")])),
        f"{PARALLEL_HEAD} FailStateEntered<3 ParallelStateFailed<4 ExecutionFailed<5",
    ),
    "a Parallel whose failure is caught": (
        machine(parallel("P", [task("T")], Catch=catch("C")), pass_("C")),
        (
            f"{PARALLEL_HEAD} TaskStateEntered<3 TaskScheduled<4 TaskStarted<5 TaskFailed<6 TaskStateAborted<7"
            " ParallelStateFailed<7 ParallelStateExited<9 PassStateEntered<10 PassStateExited<11 ExecutionSucceeded<12"
        ),
    ),
    "a Parallel that is tried again": (
        machine(parallel("P", [fail("F")], Retry=RETRY_ONCE)),
        f"{PARALLEL_HEAD} FailStateEntered<3 ParallelStateStarted<4 FailStateEntered<5 ParallelStateFailed<6 ExecutionFailed<7",
    ),
    "a Parallel that succeeds": (
        machine(parallel("P", [pass_("A")], [pass_("B")])),
        (
            f"{PARALLEL_HEAD} PassStateEntered<3 PassStateExited<4 PassStateEntered<3 PassStateExited<6"
            " ParallelStateSucceeded<7 ParallelStateExited<7 ExecutionSucceeded<9"
        ),
    ),
    "a task that is tried again and caught": (
        machine(task("T", Retry=RETRY_ONCE, Catch=catch("C"), End=True), pass_("C")),
        (
            "ExecutionStarted<0 TaskStateEntered<0 TaskScheduled<2 TaskStarted<3 TaskFailed<4 TaskScheduled<5 TaskStarted<6"
            " TaskFailed<7 TaskStateExited<8 PassStateEntered<9 PassStateExited<10 ExecutionSucceeded<11"
        ),
    ),
    "an Output that is undefined": (
        machine(pass_("A"), pass_("B", Output="{% $nope %}")),
        "ExecutionStarted<0 PassStateEntered<0 PassStateExited<2 PassStateEntered<3 EvaluationFailed<3 ExecutionFailed<5",
    ),
    "Arguments that are undefined": (
        machine(task("T", Arguments={"FunctionName": "{% $nope %}"})),
        "ExecutionStarted<0 TaskStateEntered<0 EvaluationFailed<0 ExecutionFailed<3",
    ),
    "a Timestamp that is none": (
        machine({"Name": "W", "Type": "Wait", "Timestamp": "2016-12-05 21:29:29Z"}),
        "ExecutionStarted<0 WaitStateEntered<0 EvaluationFailed<2 ExecutionFailed<3",
    ),
}


@pytest.mark.parametrize(("definition", "expected"), RECORDED.values(), ids=RECORDED.keys())
def test_the_history_is_the_one_recorded_on_aws(definition: Any, expected: str) -> None:
    assert chain(run(definition, {}, Stubs(functions={"F": broken}))) == expected


def test_iterations_that_time_out_together_are_one_failure_and_aborted_siblings() -> None:
    clock = FakeClock()

    async def never(_resource: str, _arguments: Any) -> Any:
        await clock.sleep(1000)

    with Engine(never, clock=clock) as engine:
        definition = machine(map_("M", [1, 2, 3], task("T", TimeoutSeconds=5)))
        execution = engine.start_execution(engine.create_state_machine("m", text(definition)).arn)
        engine.wait(execution.arn)
        result = outcome(engine, execution.arn)
    first = next(event["id"] for event in result.history if event["type"] == "TaskTimedOut")
    told = result.history[-8:]
    assert [event["type"] for event in told] == [
        "MapIterationFailed",
        "TaskStateAborted",
        "MapIterationAborted",
        "TaskStateAborted",
        "MapIterationAborted",
        "TaskStateAborted",
        "MapStateFailed",
        "ExecutionFailed",
    ]
    assert {event["previousEventId"] for event in told[:-1]} == {first}


def test_a_stopped_execution_tells_nothing_of_its_states() -> None:
    with Engine(Stubs(), clock=FakeClock(jumps=False)) as engine:
        execution = engine.start_execution(engine.create_state_machine("m", text(machine(wait("W", 60)))).arn)
        engine.stop_execution(execution.arn)
        assert chain(outcome(engine, execution.arn)) == "ExecutionStarted<0 WaitStateEntered<0 ExecutionAborted<0"


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ("{% 1 %}", "Expected 'array', but was 'number' for value: 1"),
        ("{% null %}", "Expected 'array', but was 'null' for value: null"),
        ("{% {'foo': 'bar'} %}", "Expected 'array', but was 'object' for value: {\"foo\":\"bar\"}"),
    ],
)
def test_items_of_another_type_are_told_in_the_recorded_words(items: str, reason: str) -> None:
    result = run(machine(map_("M", items, pass_("P"))))
    source = items[2:-2].strip()
    assert result.cause == (
        "An error occurred while executing the state 'M' (entered at the event id #2). The JSONata expression"
        f" '{source}' specified for the field 'Items' returned an unexpected result type. {reason}"
    )


def test_a_result_over_the_limit_is_told_in_the_recorded_words_and_can_be_caught() -> None:
    state = task("T", Catch=catch("C"), End=True)
    result = run(machine(state, pass_("C")), {}, Stubs(functions={"F": lambda _: "x" * 262_144}))
    assert result.output == {
        "Error": "States.DataLimitExceeded",
        "Cause": "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit.",
    }
