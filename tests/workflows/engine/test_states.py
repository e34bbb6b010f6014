"""Each state type, its data and its variables, and the history it leaves."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from local.stepfunctions import runner
from local.stepfunctions.testing import Stubs, run
from tests.support.machines import fail, flow, machine, map_, parallel, pass_, task, wait


def test_pass_puts_out_its_input_or_its_output() -> None:
    assert run(machine(pass_("A")), {"x": 1}).output == {"x": 1}
    assert run(machine(pass_("A", Output={"y": "{% $states.input.x + 1 %}"})), {"x": 1}).output == {"y": 2}


def test_history_of_a_short_execution_is_as_on_aws() -> None:
    outcome = run(machine(pass_("A", Assign={"x": 1}), task("T")), {"n": 1}, Stubs(functions={"F": lambda n: n}))
    assert outcome.types() == [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
    assert [event["id"] for event in outcome.history] == list(range(1, 10))
    assert [event["previousEventId"] for event in outcome.history] == [0, 0, 2, 3, 4, 5, 6, 7, 8]
    (scheduled,) = outcome.of_type("TaskScheduled")
    assert scheduled == {
        "resourceType": "lambda",
        "resource": "invoke",
        "region": "us-east-1",
        "parameters": '{"FunctionName":"F","Payload":{"n":1}}',
    }
    assert outcome.of_type("PassStateExited")[0]["assignedVariables"] == {"x": "1"}


def test_choice_takes_the_first_rule_that_holds() -> None:
    choice = {
        "Name": "C",
        "Type": "Choice",
        "Choices": [
            {
                "Condition": "{% $states.input.n > 10 %}",
                "Next": "Big",
                "Output": {"size": "big"},
                "Assign": {"seen": "{% 1 %}"},
            },
            {"Condition": "{% $states.input.n > 5 %}", "Next": "Middle"},
        ],
        "Default": "Small",
        "Output": {"size": "small"},
    }
    states = [choice, pass_("Big", Output="{% $states.input.size & $string($seen) %}", End=True), pass_("Middle", End=True)]
    definition = machine(*states, pass_("Small"))
    assert run(definition, {"n": 11}).output == "big1"
    assert run(definition, {"n": 6}).output == {"n": 6}
    assert run(definition, {"n": 1}).output == {"size": "small"}


def test_choice_without_a_match_fails_by_name() -> None:
    definition = machine({"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "A"}]}, pass_("A"))
    assert run(definition).error == "States.NoChoiceMatched"


def test_choice_with_a_condition_that_is_no_boolean_fails() -> None:
    definition = machine({"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% 1 %}", "Next": "A"}]}, pass_("A"))
    outcome = run(definition)
    assert outcome.error == "States.QueryEvaluationError"
    assert outcome.of_type("EvaluationFailed")[0]["location"] == "Choices[0]/Condition"


def test_wait_takes_its_seconds_or_ends_at_its_timestamp() -> None:
    assert run(machine(wait("W", "{% $states.input.s * 2 %}")), {"s": 30}).seconds == 60
    until = {"Name": "W", "Type": "Wait", "Timestamp": "{% $fromMillis($millis() + 90000) %}"}
    assert run(machine(until)).seconds == 90
    past = {"Name": "W", "Type": "Wait", "Timestamp": "2020-01-01T00:00:00Z"}
    assert run(machine(past)).seconds == 0


def test_fail_fails_with_its_error_and_cause() -> None:
    outcome = run(machine(fail("F", "{% 'Ingest.' & $states.input.what %}", "{% 'because' %}")), {"what": "Incomplete"})
    assert (outcome.status, outcome.error, outcome.cause) == ("FAILED", "Ingest.Incomplete", "because")
    assert outcome.types() == ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"]


def test_map_keeps_the_order_of_its_items_and_knows_their_index() -> None:
    selector = {"i": "{% $states.context.Map.Item.Index %}", "v": "{% $states.context.Map.Item.Value %}"}
    inner = pass_("P", Output="{% [$states.input.i, $states.input.v, $states.context.Map.Item.Index] %}")
    outcome = run(machine(map_("M", "{% $states.input.items %}", inner, ItemSelector=selector)), {"items": ["a", "b"]})
    assert outcome.output == [[0, "a", 0], [1, "b", 1]]
    assert outcome.of_type("MapStateStarted") == [{"length": 2}]
    assert outcome.of_type("MapIterationSucceeded") == [{"name": "M", "index": 0}, {"name": "M", "index": 1}]


def test_map_over_nothing_puts_out_nothing() -> None:
    assert run(machine(map_("M", [], pass_("P")))).output == []


def test_map_over_one_element_that_jsonata_unwrapped_fails() -> None:
    outcome = run(machine(map_("M", "{% $filter([5, 6], function($v) {$v > 5}) %}", pass_("P"))))
    assert outcome.error == "States.QueryEvaluationError"


@pytest.mark.parametrize("limit", [1, 3, "{% 3 %}"])
def test_map_runs_no_more_at_once_than_max_concurrency(limit: Any) -> None:
    lock, running, most = threading.Lock(), [0], [0]
    both = threading.Barrier(3 if limit != 1 else 1)

    def work(_: Any) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(10)
        with lock:
            running[0] -= 1

    outcome = run(machine(map_("M", [1, 2, 3, 4, 5, 6], task("T"), MaxConcurrency=limit)), {}, Stubs(functions={"F": work}))
    assert outcome.status == "SUCCEEDED"
    assert most[0] == (1 if limit == 1 else 3)


def test_a_failing_iteration_aborts_the_others_and_fails_the_map() -> None:
    inner = [
        {"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% $states.input = 2 %}", "Next": "F"}], "Default": "W"}
    ]
    definition = machine(map_("M", [1, 2, 3], *inner, fail("F"), wait("W", 60)))
    outcome = run(definition)
    assert (outcome.error, outcome.cause) == ("Broken", "on purpose")
    assert outcome.seconds == 0
    assert outcome.of_type("MapIterationFailed") == [{"name": "M", "index": 1}]
    assert [details["index"] for details in outcome.of_type("MapIterationAborted")] == [0, 2]
    assert outcome.types()[-2:] == ["MapStateFailed", "ExecutionFailed"]


def test_parallel_gives_its_arguments_to_each_branch_and_gathers_their_outputs() -> None:
    branches = [pass_("A", Output="{% $states.input.x %}")], [wait("B", 5), pass_("C", Output="c")]
    outcome = run(machine(parallel("P", *branches, Arguments={"x": "{% $states.input.n * 2 %}"})), {"n": 4})
    assert outcome.output == [8, "c"]
    assert outcome.seconds == 5


def test_a_failing_branch_aborts_the_others() -> None:
    outcome = run(machine(parallel("P", [wait("W", 60)], [fail("F")])))
    assert outcome.types()[-4:] == ["FailStateEntered", "WaitStateAborted", "ParallelStateFailed", "ExecutionFailed"]
    assert outcome.seconds == 0


def test_variables_are_read_from_outer_scopes_and_assigned_in_the_inner_one_alone() -> None:
    inner = [pass_("In", Assign={"x": "{% $x + 1 %}", "own": 7}), pass_("Read", Output="{% [$x, $own] %}")]
    outcome = run(
        machine(
            pass_("Set", Assign={"x": 1}),
            parallel("P", inner, Assign={"y": "{% $states.result[0] %}"}),
            pass_("After", Output={"x": "{% $x %}", "own": "{% $exists($own) %}", "y": "{% $y %}"}),
        )
    )
    assert outcome.output == {"x": 1, "own": False, "y": [2, 7]}


def test_assign_and_output_see_the_variables_as_they_were() -> None:
    outcome = run(
        machine(
            pass_("Set", Assign={"x": 1}),
            pass_("Next", Assign={"x": 2, "old": "{% $x %}"}, Output="{% $x %}"),
            pass_("Read", Output="{% [$states.input, $old, $x] %}"),
        )
    )
    assert outcome.output == [1, 1, 2]


def test_the_context_tells_execution_state_and_machine() -> None:
    outcome = run(machine(pass_("A", Output="{% $states.context %}")), {"n": 1})
    assert outcome.output == {
        "Execution": {
            "Id": outcome.arn,
            "Input": {"n": 1},
            "Name": outcome.arn.rpartition(":")[2],
            "RoleArn": "arn:aws:iam::000000000000:role/local",
            "StartTime": "2027-01-15T08:00:00.000Z",
            "RedriveCount": 0,
        },
        "State": {"Name": "A", "EnteredTime": "2027-01-15T08:00:00.000Z"},
        "StateMachine": {"Id": "arn:aws:states:us-east-1:000000000000:stateMachine:machine", "Name": "machine"},
    }


def test_an_undefined_field_fails_the_execution_and_names_state_and_field() -> None:
    outcome = run(machine(pass_("A", Output={"x": "{% $states.input.missing %}"})))
    assert (outcome.status, outcome.error) == ("FAILED", "States.QueryEvaluationError")
    (details,) = outcome.of_type("EvaluationFailed")
    assert (details["state"], details["location"]) == ("A", "Output/x")
    assert outcome.cause == (
        "An error occurred while executing the state 'A' (entered at the event id #2)."
        " The JSONata expression '$states.input.missing' specified for the field 'Output/x' returned nothing (undefined)."
    )


def test_data_over_256_kib_fails_by_name() -> None:
    too_large = Stubs(functions={"F": lambda _: "x" * 262_144})
    outcome = run(machine(task("T")), {}, too_large)
    assert outcome.error == "States.DataLimitExceeded"
    assert outcome.types()[-2:] == ["TaskFailed", "ExecutionFailed"]
    assert run(machine(task("T")), {}, Stubs(functions={"F": lambda _: "x" * 262_000})).status == "SUCCEEDED"
    built = run(machine(pass_("P", Output="{% $pad('', 262144, 'x') %}")))
    assert (built.error, built.types()[-2:]) == ("States.DataLimitExceeded", ["PassStateEntered", "ExecutionFailed"])


def test_an_endless_execution_fails_at_25000_events(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.MAX_EVENTS == 25_000
    monkeypatch.setattr(runner, "MAX_EVENTS", 500)
    choice = {"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "P"}], "Default": "End"}
    outcome = run(machine(pass_("P", Next="C"), choice, {"Name": "End", "Type": "Succeed"}))
    assert (outcome.status, outcome.error) == ("FAILED", "States.Runtime")
    assert len(outcome.history) == 500


def test_arguments_that_lack_a_field_at_run_time_fail_and_nothing_catches_it() -> None:
    state = task("T", Arguments="{% {'Payload': 1} %}", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "C"}], End=True)
    outcome = run(machine(state, pass_("C")))
    assert outcome.error == "States.Runtime"
    assert outcome.cause == "These fields are required: [FunctionName] at /States/T/Arguments"


def test_data_that_looks_like_an_expression_is_data() -> None:
    data = ["{% $uuid() %}"]
    inner = {"Name": "M", "Type": "Map", "ItemProcessor": flow(pass_("P"))}
    assert run(machine(parallel("B", [inner])), data).output == [data]
