"""The table: what a state machine does, by name. Every target must do it (targets.py).

Definitions are in JSONata. Those that are `neutral` use no more of it than paths, so they can be said in JSONPath too, which
is what moto runs. The functions that states call are function.py's, with the script that each state carries.
Sources: https://states-language.net, and the Step Functions Developer Guide ("Handling errors", "Transforming data").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.machines import child, fail, machine, map_, parallel, pass_, task, wait

Json = Any

X, Y, DONE = {"raise": "X"}, {"raise": "Y"}, {"return": "done"}
CHILD = "${Child}"  # the ARN of the behaviour's child machine


@dataclass(frozen=True)
class Behaviour:
    definition: Json
    status: str = "SUCCEEDED"
    error: str | None = None
    output: Json = None  # compared when the execution succeeds
    input: Json = None
    delays: tuple[tuple[float, float], ...] | None = None  # of the retries: (least, most) seconds
    seconds: float | None = None  # how long it takes at most, told by the target's own clock
    child: Json = None
    neutral: bool = False
    same_history: bool = True  # on moto: its order is that of threads where flows run side by side; it marks timeouts otherwise


def call(name: str, *script: Json, **more: Json) -> dict[str, Any]:
    """A Task that calls the function with this script, and puts out what it returns."""
    payload = {"script": list(script), "attempt": "{% $states.context.State.RetryCount %}"}
    output = {"got": "{% $states.result.Payload %}"}
    return task(name, Arguments={"FunctionName": "${Function}", "Payload": payload}, **{"Output": output, **more})


def retry(*errors: str, **more: Json) -> dict[str, Any]:
    return {"ErrorEquals": list(errors), **more}


def catch(*errors: str, to: str) -> dict[str, Any]:
    return {"ErrorEquals": list(errors), "Next": to}


def exactly(*seconds: float) -> tuple[tuple[float, float], ...]:
    return tuple((each, each) for each in seconds)


def caught(name: str) -> dict[str, Any]:
    """Where a Catch leads to: puts out the error's name."""
    return pass_(name, Output={"caught": "{% $states.input.Error %}"}, End=True)


ITEMS = "{% $states.input.items %}"

RETRYING = {
    "a retry waits 1, 2, 4 s where nothing else is said": Behaviour(
        machine(call("T", X, X, X, DONE, Retry=[retry("X")])), output={"got": "done"}, delays=exactly(1, 2, 4), neutral=True
    ),
    "three attempts are made where nothing else is said": Behaviour(
        machine(call("T", X, X, X, X, DONE, Retry=[retry("X")])), "FAILED", "X", delays=exactly(1, 2, 4), neutral=True
    ),
    "IntervalSeconds and BackoffRate make the delays": Behaviour(
        machine(call("T", X, X, DONE, Retry=[retry("X", IntervalSeconds=2, BackoffRate=1.5)])),
        output={"got": "done"},
        delays=exactly(2, 3),
        neutral=True,
    ),
    "MaxDelaySeconds caps the delays": Behaviour(
        machine(call("T", X, X, X, DONE, Retry=[retry("X", IntervalSeconds=1, BackoffRate=3, MaxDelaySeconds=2)])),
        output={"got": "done"},
        delays=exactly(1, 2, 2),
        neutral=True,
    ),
    "FULL jitter stays between zero and the delay": Behaviour(
        machine(
            call(
                *("T", X, X, X, DONE),
                Retry=[retry("X", IntervalSeconds=1, BackoffRate=3, MaxDelaySeconds=2, JitterStrategy="FULL")],
            )
        ),
        output={"got": "done"},
        delays=((0, 1), (0, 2), (0, 2)),
        neutral=True,
    ),
    "MaxAttempts 0 forbids what a later retrier would allow": Behaviour(
        machine(call("T", X, DONE, Retry=[retry("X", MaxAttempts=0), retry("States.ALL")])), "FAILED", "X", neutral=True
    ),
    "each retrier counts on its own": Behaviour(
        machine(call("T", X, Y, X, DONE, Retry=[retry("X", MaxAttempts=2), retry("Y", IntervalSeconds=3)])),
        output={"got": "done"},
        delays=exactly(1, 3, 2),
        neutral=True,
    ),
    "retries come before Catch": Behaviour(
        machine(call("T", X, X, Retry=[retry("X", MaxAttempts=1)], Catch=[catch("X", to="C")], End=True), caught("C")),
        output={"caught": "X"},
        delays=exactly(1),
        neutral=True,
    ),
    "a Parallel is retried as a whole": Behaviour(
        machine(parallel("P", [fail("F", "X")], Retry=[retry("X", MaxAttempts=1)])), "FAILED", "X", neutral=True
    ),
}

CATCHING = {
    "the first catcher that names the error takes it": Behaviour(
        machine(
            call("T", X, Catch=[catch("Y", to="Wrong"), catch("X", to="C"), catch("States.ALL", to="Wrong")], End=True),
            caught("C"),
            pass_("Wrong"),
        ),
        output={"caught": "X"},
        neutral=True,
    ),
    "an error that no catcher names fails the execution": Behaviour(
        machine(call("T", X, Catch=[catch("Y", to="C")], End=True), caught("C")), "FAILED", "X", neutral=True
    ),
    "States.ALL takes an error of any name": Behaviour(
        machine(call("T", X, Catch=[catch("States.ALL", to="C")], End=True), caught("C")), output={"caught": "X"}, neutral=True
    ),
    "States.TaskFailed takes an error of any name": Behaviour(
        machine(call("T", X, Catch=[catch("States.TaskFailed", to="C")], End=True), caught("C")),
        output={"caught": "X"},
        neutral=True,
    ),
    "States.TaskFailed does not take a timeout": Behaviour(
        machine(call("T", {"sleep": 3}, TimeoutSeconds=1, Catch=[catch("States.TaskFailed", to="C")], End=True), caught("C")),
        *("FAILED", "States.Timeout"),
        neutral=True,
    ),
    "States.ALL takes a timeout": Behaviour(
        machine(call("T", {"sleep": 3}, TimeoutSeconds=1, Catch=[catch("States.ALL", to="C")], End=True), caught("C")),
        output={"caught": "States.Timeout"},
        neutral=True,
    ),
    "a result over 256 KiB can be caught": Behaviour(
        machine(call("T", {"size": 262_144}, Catch=[catch("States.ALL", to="C")], End=True), caught("C")),
        output={"caught": "States.DataLimitExceeded"},
        neutral=True,
    ),
    "a result of just under 256 KiB passes": Behaviour(
        machine(call("T", {"size": 261_000}), pass_("P", Output={"got": "little"})), output={"got": "little"}, neutral=True
    ),
    "the machine's TimeoutSeconds end it as TIMED_OUT": Behaviour(
        machine(wait("W", 30), TimeoutSeconds=1), "TIMED_OUT", seconds=3, neutral=True, same_history=False
    ),
}

FANNING_OUT = {
    "a Map keeps the order of its items": Behaviour(
        machine(map_("M", ITEMS, pass_("P"))), input={"items": [3, 1, 2]}, output=[3, 1, 2], neutral=True, same_history=False
    ),
    "MaxConcurrency 1 takes one item after the other": Behaviour(
        machine(map_("M", ITEMS, pass_("P"), MaxConcurrency=1)), input={"items": [1, 2]}, output=[1, 2], neutral=True
    ),
    "a Map over nothing puts out nothing": Behaviour(
        machine(map_("M", ITEMS, pass_("P"))), input={"items": []}, output=[], neutral=True
    ),
    "a failing iteration fails the Map": Behaviour(
        machine(map_("M", ITEMS, fail("F", "X"), MaxConcurrency=1)), "FAILED", "X", input={"items": [1, 2]}, neutral=True
    ),
    "a Map's failure can be caught": Behaviour(
        machine(map_("M", ITEMS, fail("F", "X"), Catch=[catch("X", to="C")], End=True, MaxConcurrency=1), caught("C")),
        input={"items": [1]},
        output={"caught": "X"},
        neutral=True,
    ),
    "a failing branch ends the Parallel at once": Behaviour(
        machine(parallel("P", [wait("W", 30)], [fail("F", "X")])),
        *("FAILED", "X"),
        seconds=10,
        neutral=True,
        same_history=False,
    ),
    "a Parallel gathers the outputs of its branches in their order": Behaviour(
        machine(parallel("P", [wait("W", 1), pass_("A", Output={"n": 1})], [pass_("B", Output={"n": 2})])),
        output=[{"n": 1}, {"n": 2}],
        neutral=True,
        same_history=False,
    ),
}

CHILDREN = {
    ".sync:2 gives the child's output as JSON": Behaviour(
        machine(child("C", CHILD)), child=machine(pass_("P", Output={"n": 7})), output={"n": 7}
    ),
    ".sync:2 tells a child's failure as States.TaskFailed": Behaviour(
        machine(child("C", CHILD)), "FAILED", "States.TaskFailed", child=machine(fail("F", "X"))
    ),
    "the Cause of a .sync:2 failure holds the child's own error": Behaviour(
        machine(
            child("C", CHILD, Catch=[catch("States.TaskFailed", to="Read")], End=True),
            pass_("Read", Output={"caught": "{% $parse($states.input.Cause).Error %}"}),
        ),
        child=machine(fail("F", "X")),
        output={"caught": "X"},
    ),
    ".sync:2 of a machine that does not exist fails by the service's error": Behaviour(
        machine(child("C", f"{CHILD}-missing")),
        *("FAILED", "StepFunctions.StateMachineDoesNotExistException"),
        child=machine(pass_("P")),
    ),
}

QUERYING = {
    "a sequence of one element is that element": Behaviour(
        machine(pass_("P", Output="{% $filter($states.input.items, function($v) {$v > 1}) %}")),
        input={"items": [1, 2]},
        output=2,
    ),
    "brackets keep a sequence of one element an array": Behaviour(
        machine(pass_("P", Output="{% [$filter($states.input.items, function($v) {$v > 1})] %}")),
        input={"items": [1, 2]},
        output=[2],
    ),
    "a Map over an unwrapped element fails": Behaviour(
        machine(map_("M", "{% $filter($states.input.items, function($v) {$v > 1}) %}", pass_("P"))),
        *("FAILED", "States.QueryEvaluationError"),
        input={"items": [1, 2]},
    ),
    "an expression without a value is States.QueryEvaluationError": Behaviour(
        machine(pass_("P", Output="{% $states.input.missing %}")), "FAILED", "States.QueryEvaluationError"
    ),
    "States.QueryEvaluationError can be caught": Behaviour(
        machine(
            call(
                "T", DONE, Output="{% $states.result.Missing %}", Catch=[catch("States.QueryEvaluationError", to="C")], End=True
            ),
            caught("C"),
        ),
        output={"caught": "States.QueryEvaluationError"},
    ),
    "a condition that is no boolean is States.QueryEvaluationError": Behaviour(
        machine(
            {"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% 1 %}", "Next": "P"}], "Default": "P"}, pass_("P")
        ),
        *("FAILED", "States.QueryEvaluationError"),
    ),
    "a Choice without a match is States.NoChoiceMatched": Behaviour(
        machine({"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "P"}]}, pass_("P")),
        *("FAILED", "States.NoChoiceMatched"),
    ),
    "Assign and Output see the variables as they were": Behaviour(
        machine(pass_("A", Assign={"x": 1}), pass_("B", Assign={"x": 2}, Output="{% $x %}")), output=1
    ),
    "AWS's own functions": Behaviour(
        machine(
            pass_(
                "P",
                Output={
                    "partition": "{% $partition([1, 2, 3], 2) %}",
                    "range": "{% $range(0, 10, 5) %}",
                    "hash": "{% $hash('a', 'SHA-256') %}",
                    "parse": "{% $parse('[1]') %}",
                },
            )
        ),
        output={
            "partition": [[1, 2], [3]],
            "range": [0, 5, 10],
            "hash": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "parse": [1],
        },
    ),
}

BEHAVIOURS: dict[str, Behaviour] = {**RETRYING, **CATCHING, **FANNING_OUT, **CHILDREN, **QUERYING}
NEUTRAL = {name: behaviour for name, behaviour in BEHAVIOURS.items() if behaviour.neutral}
