"""Retry, Catch and timeouts, on a clock that jumps."""

from __future__ import annotations

import random
from typing import Any

import pytest

from local.stepfunctions import Engine, FakeClock, TaskError
from local.stepfunctions.testing import Outcome, Stubs, outcome, run
from tests.support.machines import machine, map_, parallel, pass_, task, text, wait

Json = Any


class Flaky:
    """A Lambda that raises the errors it was given, one a call, and then answers."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors)

    def __call__(self, payload: Json) -> Json:
        if self.errors:
            raise TaskError(self.errors.pop(0), "as told")
        return "done"


def attempt(state: dict[str, Any], *errors: str, more: list[dict[str, Any]] | None = None) -> Outcome:
    return run(machine(state, *(more or [])), {}, Stubs(functions={"F": Flaky(*errors)}))


def retrier(*errors: str, **more: Json) -> dict[str, Any]:
    return {"ErrorEquals": list(errors), **more}


@pytest.mark.parametrize(
    ("fields", "failures", "seconds"),
    [
        ({}, 3, 1 + 2 + 4),
        ({"IntervalSeconds": 3, "BackoffRate": 1.0}, 3, 9),
        ({"IntervalSeconds": 2, "BackoffRate": 3, "MaxDelaySeconds": 10, "MaxAttempts": 4}, 4, 2 + 6 + 10 + 10),
    ],
)
def test_retries_wait_as_long_as_told(fields: dict[str, Any], failures: int, seconds: float) -> None:
    result = attempt(task("T", Retry=[retrier("X", **fields)]), *["X"] * failures)
    assert (result.status, result.seconds) == ("SUCCEEDED", seconds)
    assert len(result.of_type("TaskFailed")) == failures


def test_full_jitter_draws_between_zero_and_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 2

    monkeypatch.setattr(random, "uniform", uniform)
    fields = {"IntervalSeconds": 4, "BackoffRate": 2, "MaxDelaySeconds": 7, "JitterStrategy": "FULL"}
    result = attempt(task("T", Retry=[retrier("X", **fields)]), "X", "X", "X")
    assert drawn == [(0, 4), (0, 7), (0, 7)]
    assert result.seconds == 2 + 3.5 + 3.5


def test_attempts_used_up_fail_the_execution_with_the_last_error() -> None:
    result = attempt(task("T", Retry=[retrier("X", MaxAttempts=1)]), "X", "X")
    assert (result.status, result.error, result.cause) == ("FAILED", "X", "as told")


def test_max_attempts_zero_forbids_a_retry_that_a_later_retrier_would_allow() -> None:
    retry = [retrier("Mistake", MaxAttempts=0), retrier("States.ALL")]
    assert attempt(task("T", Retry=retry), "Mistake").status == "FAILED"
    assert attempt(task("T", Retry=retry), "Other").status == "SUCCEEDED"


def test_each_retrier_counts_on_its_own() -> None:
    retry = [retrier("X", MaxAttempts=2), retrier("Y", MaxAttempts=1, IntervalSeconds=10)]
    result = attempt(task("T", Retry=retry), "X", "Y", "X")
    assert (result.status, result.seconds) == ("SUCCEEDED", 1 + 10 + 2)


def test_the_retry_count_is_in_the_context_and_arguments_are_evaluated_again() -> None:
    stubs = Stubs(functions={"F": Flaky("X", "X")})
    arguments = {"FunctionName": "F", "Payload": "{% $states.context.State.RetryCount %}"}
    run(machine(task("T", Retry=[retrier("X")], Arguments=arguments)), {}, stubs)
    assert stubs.called("F") == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "error", "caught"),
    [
        (["X"], "X", True),
        (["Y"], "X", False),
        (["States.ALL"], "X", True),
        (["States.TaskFailed"], "X", True),
        (["States.TaskFailed"], "Lambda.TooManyRequestsException", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.ALL"], "States.Timeout", True),
    ],
)
def test_which_names_catch_which_errors(names: list[str], error: str, *, caught: bool) -> None:
    state = task("T", Catch=[{"ErrorEquals": names, "Next": "Caught"}], End=True)
    result = attempt(state, error, more=[pass_("Caught")])
    assert (result.status == "SUCCEEDED") is caught


def test_the_first_catcher_that_matches_is_taken_after_the_retries() -> None:
    catch = [
        {"ErrorEquals": ["Y"], "Next": "A"},
        {
            "ErrorEquals": ["X"],
            "Next": "B",
            "Output": {"why": "{% $states.errorOutput.Cause %}"},
            "Assign": {"error": "{% $states.errorOutput.Error %}"},
        },
        {"ErrorEquals": ["States.ALL"], "Next": "A"},
    ]
    state = task("T", Retry=[retrier("X", MaxAttempts=1)], Catch=catch, End=True)
    more = [pass_("A", Output="a", End=True), pass_("B", Output="{% [$states.input.why, $error] %}")]
    result = attempt(state, "X", "X", more=more)
    assert result.output == ["as told", "X"]
    assert [kind for kind in result.types() if kind.startswith("Task")][-2:] == ["TaskFailed", "TaskStateExited"]


def test_a_catch_without_output_puts_out_error_and_cause() -> None:
    state = task("T", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "C"}], End=True)
    assert attempt(state, "X", more=[pass_("C")]).output == {"Error": "X", "Cause": "as told"}


def test_an_output_that_cannot_be_evaluated_is_caught_like_a_failure() -> None:
    state = task("T", Output="{% $nope %}", Catch=[{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "C"}], End=True)
    result = attempt(state, more=[pass_("C", Output="caught")])
    assert result.output == "caught"
    assert result.types()[4:7] == ["TaskSucceeded", "EvaluationFailed", "TaskStateExited"]


def test_a_catch_whose_output_cannot_be_evaluated_fails_the_execution() -> None:
    state = task("T", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "C", "Output": "{% $nope %}"}], End=True)
    result = attempt(state, "X", more=[pass_("C")])
    assert result.error == "States.QueryEvaluationError"


def test_a_map_is_retried_whole() -> None:
    stubs = Stubs(functions={"F": Flaky("X")})
    result = run(machine(map_("M", [1, 2], task("T"), MaxConcurrency=1, Retry=[retrier("X", IntervalSeconds=5)])), {}, stubs)
    assert (result.output, result.seconds) == (["done", "done"], 5)
    assert stubs.called("F") == [1, 1, 2]


def test_a_parallel_catches_what_a_branch_did_not() -> None:
    state = parallel("P", [task("T")], [wait("W", 9)], Catch=[{"ErrorEquals": ["X"], "Next": "C"}], End=True)
    result = attempt(state, "X", more=[pass_("C", Output="{% $states.input.Error %}")])
    assert (result.output, result.seconds) == ("X", 0)


def slow(seconds: float, clock: FakeClock) -> Any:
    async def invoke(_resource: str, _arguments: Json) -> Json:
        await clock.sleep(seconds)
        return {"Payload": "late"}

    return invoke


def on_clock(definition: Json, seconds: float) -> Outcome:
    clock = FakeClock()
    with Engine(slow(seconds, clock), clock=clock) as engine:
        execution = engine.start_execution(engine.create_state_machine("m", text(definition)).arn)
        engine.wait(execution.arn)
        return outcome(engine, execution.arn)


def test_a_task_that_takes_too_long_times_out_and_can_be_retried() -> None:
    retry = [retrier("States.Timeout", IntervalSeconds=1, MaxAttempts=1)]
    result = on_clock(machine(task("T", TimeoutSeconds="{% 5 + 5 %}", Retry=retry)), 60)
    assert (result.status, result.error, result.seconds) == ("FAILED", "States.Timeout", 10 + 1 + 10)
    assert result.of_type("TaskScheduled")[0]["timeoutInSeconds"] == 10
    assert result.of_type("TaskTimedOut") == [{"resourceType": "lambda", "resource": "invoke", "error": "States.Timeout"}] * 2


def test_a_task_that_is_in_time_does_not_time_out() -> None:
    assert on_clock(machine(task("T", TimeoutSeconds=61)), 60).output == "late"


def test_the_machines_timeout_ends_the_execution_as_timed_out() -> None:
    result = on_clock(machine(map_("M", [1, 2], task("T")), TimeoutSeconds=30), 60)
    assert (result.status, result.error, result.seconds) == ("TIMED_OUT", "States.Timeout", 30)
    assert result.history[-1]["type"] == "ExecutionTimedOut"
