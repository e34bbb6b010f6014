"""What CreateStateMachine refuses, by state and field."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workflows
from local.stepfunctions import ApiError
from local.stepfunctions.parser import parse
from tests.support.machines import fail, flow, machine, map_, parallel, pass_, task, text, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = Any

RETRY = {"ErrorEquals": ["States.ALL"]}


def one(state: dict[str, Any]) -> dict[str, Any]:
    return machine(state)


REFUSED = {
    "JSONPath": (
        {**machine(pass_("A")), "QueryLanguage": "JSONPath"},
        "JSONPath, the default, is not supported at /QueryLanguage",
    ),
    "no query language": ({**flow(pass_("A"))}, "at /QueryLanguage"),
    "unknown top field": (
        machine(pass_("A"), Timeout=3),
        "the field 'Timeout' is not supported here; did you mean 'TimeoutSeconds'?",
    ),
    "JSONPath field": (
        one(pass_("A", Parameters={})),
        "'Parameters' is JSONPath, and not supported in JSONata at /States/A/Parameters",
    ),
    "unknown field": (one(task("A", TimeoutSecond=3)), "did you mean 'TimeoutSeconds'? at /States/A/TimeoutSecond"),
    "heartbeat": (one(task("A", HeartbeatSeconds=3)), "at /States/A/HeartbeatSeconds"),
    "unknown type": (one({"Name": "A", "Type": "Loop", "End": True}), "at /States/A/Type"),
    "missing target": (one(pass_("A", Next="B")), "MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next"),
    "no start": (
        {"QueryLanguage": "JSONata", "States": {"A": {"Type": "Succeed"}}},
        "These fields are required: [StartAt] at /",
    ),
    "missing start": ({**machine(pass_("A")), "StartAt": "B"}, "Missing 'StartAt' target: B at /StartAt"),
    "missing catch target": (
        one(task("A", Catch=[{"ErrorEquals": ["X"], "Next": "B"}])),
        "Missing 'Next' target: B at /States/A/Catch[0]/Next",
    ),
    "unreachable": (machine(pass_("A", End=True), pass_("B")), 'State "B" is not reachable. at /States/B'),
    "no end": (machine(pass_("A", Next="B"), pass_("B", Next="A")), "no state ends the flow"),
    "next and end": (one(pass_("A", Next="A", End=True)), "exactly one of Next and"),
    "neither next nor end": ({**machine(pass_("A")), "States": {"A": {"Type": "Pass"}}}, "exactly one of Next and"),
    "target outside of its scope": (
        machine(map_("M", [1], pass_("In", Next="Out")), pass_("Out")),
        "Missing 'Next' target: Out at /States/M/ItemProcessor/States/In/Next",
    ),
    "same name twice": (machine(map_("M", [1], pass_("A")), pass_("A")), "has the same name at /States/A"),
    "bad jitter": (
        one(task("Foo", Retry=[{**RETRY, "JitterStrategy": "HALF"}])),
        "SCHEMA_VALIDATION_FAILED: JitterStrategy must be FULL or NONE at /States/Foo/Retry[0]/JitterStrategy",
    ),
    "delay below interval": (
        one(task("Foo", Retry=[{**RETRY, "IntervalSeconds": 9, "MaxDelaySeconds": 9}])),
        "MaxDelaySeconds must be greater than IntervalSeconds at /States/Foo/Retry[0]/MaxDelaySeconds",
    ),
    "backoff below one": (one(task("A", Retry=[{**RETRY, "BackoffRate": 0.5}])), "at /States/A/Retry[0]/BackoffRate"),
    "interval zero": (one(task("A", Retry=[{**RETRY, "IntervalSeconds": 0}])), "at /States/A/Retry[0]/IntervalSeconds"),
    "States.ALL not alone": (
        one(task("A", Retry=[{"ErrorEquals": ["States.ALL", "X"]}])),
        "States.ALL must stand alone, and in the last entry of its list at /States/A/Retry[0]/ErrorEquals",
    ),
    "States.ALL not last": (one(task("A", Retry=[RETRY, {"ErrorEquals": ["X"]}])), "at /States/A/Retry[0]/ErrorEquals"),
    "misspelt reserved error": (
        one(task("A", Retry=[{"ErrorEquals": ["States.TimedOut"]}])),
        "'States.TimedOut' is not an error name",
    ),
    "retry of a state that cannot fail": (one(wait("A", 3, Retry=[RETRY])), "at /States/A/Retry"),
    "bad expression": (one(pass_("A", Output={"x": ["{% 1 + %}"]})), "at /States/A/Output/x[0]"),
    "expression with something around": (one(pass_("A", Output=" {% 1 %}")), "must start with '{%'"),
    "$eval": (one(pass_("A", Output="{% $eval('1') %}")), "$eval is not supported at /States/A/Output"),
    "assigned states": (
        one(pass_("A", Assign={"states": 1})),
        "the variable name 'states' is reserved at /States/A/Assign/states",
    ),
    "choice without condition": (
        machine({"Name": "A", "Type": "Choice", "Choices": [{"Next": "B"}]}, pass_("B")),
        "These fields are required: [Condition], a JSONata expression or a boolean at /States/A/Choices[0]",
    ),
    "choice without choices": (machine({"Name": "A", "Type": "Choice", "Choices": []}), "at /States/A/Choices"),
    "wait without time": (one({"Name": "A", "Type": "Wait"}), "exactly one of Seconds and Timestamp"),
    "wait for negative time": (one(wait("A", -1)), "at /States/A/Seconds"),
    "distributed map": (
        one(map_("M", [1], pass_("A"), ItemProcessor={**flow(pass_("A")), "ProcessorConfig": {"Mode": "DISTRIBUTED"}})),
        "at /States/M/ItemProcessor/ProcessorConfig",
    ),
    "tolerated failures": (one(map_("M", [1], pass_("A"), ToleratedFailureCount=1)), "at /States/M/ToleratedFailureCount"),
    "unknown resource": (one(task("A", Resource="arn:aws:states:::sqs:sendMessage")), "is not supported; supported are"),
    "unknown operation": (
        one(task("A", Resource="arn:aws:states:::aws-sdk:medicalimaging:startDicomJob", Arguments={})),
        "no operation 'startDicomJob'",
    ),
    "missing argument": (
        one(task("A", Arguments={"Payload": 1})),
        "These fields are required: [FunctionName] at /States/A/Arguments",
    ),
    "unknown argument": (
        one(task("A", Arguments={"FunctionName": "F", "InvocationType": "Event"})),
        "the field 'InvocationType' is not supported by lambda:invoke at /States/A/Arguments/InvocationType",
    ),
    "argument in camel case": (
        one(
            task(
                "A",
                Resource="arn:aws:states:::aws-sdk:medicalimaging:getDICOMImportJob",
                Arguments={"datastoreId": "x", "JobId": "y"},
            )
        ),
        "the field 'datastoreId' is not supported",
    ),
    "execution-wide timeout as text": (machine(pass_("A"), TimeoutSeconds="{% 3 %}"), "at /TimeoutSeconds"),
    "inside a branch": (one(parallel("P", [pass_("A")], [fail("B"), pass_("C")])), "at /States/P/Branches[1]/States/C"),
    "long state name": (one(pass_("x" * 81)), "a state's name has 1 to 80 characters"),
}


@pytest.mark.parametrize(("definition", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_definition_that_would_not_run_exactly_is_refused_by_state_and_field(definition: Json, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse(text(definition))
    assert refused.value.code == "InvalidDefinition"
    assert refused.value.message.startswith("Invalid State Machine Definition: '")
    assert message in refused.value.message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ApiError) as refused:
        parse(text(machine(pass_("A", Foo=1), pass_("B", Bar=2))))
    assert "/States/A/Foo" in refused.value.message
    assert "/States/B/Bar" in refused.value.message


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(ApiError, match="INVALID_JSON_DESCRIPTION"):
        parse("{")


def test_a_state_written_twice_is_refused() -> None:
    with pytest.raises(ApiError, match="INVALID_JSON_DESCRIPTION: Duplicate field 'A'"):
        parse('{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Succeed"}, "A": {"Type": "Succeed"}}}')


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


WHOLE = [json.loads(Path(workflows.__path__[0], name).read_text()) for name in ("ingest.asl.json", "import.asl.json")]
ANYTHING: st.SearchStrategy[Json] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "{% 1 %}", "{% ( %}", [], [None], ["A"], {}, {"A": {}}, {"Type": "Map"}]
)


@given(st.data())
def test_whatever_stands_in_a_definition_it_is_taken_or_refused_with_a_reason(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(WHOLE)))
    *way, last = data.draw(st.sampled_from([path for path in places(document) if path]))
    holder = document
    for key in way:
        holder = holder[key]
    if isinstance(last, str) and data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(ANYTHING)
    with suppress(ApiError):
        parse(text(document))


def test_everything_supported_is_taken() -> None:
    definition = machine(
        task("A", Retry=[{**RETRY, "IntervalSeconds": 1, "MaxDelaySeconds": 5, "JitterStrategy": "FULL", "MaxAttempts": 0}]),
        map_(
            "M", "{% [1] %}", pass_("In"), MaxConcurrency="{% 3 %}", ItemSelector={"x": "{% $states.context.Map.Item.Index %}"}
        ),
        parallel("P", [pass_("P1")], [fail("P2")], Catch=[{"ErrorEquals": ["States.ALL"], "Next": "W", "Assign": {"e": 1}}]),
        wait("W", "{% 1 + 1 %}", Comment="why"),
        {
            "Name": "C",
            "Type": "Choice",
            "Choices": [{"Condition": "{% true %}", "Next": "S", "Assign": {"x": 1}}],
            "Default": "S",
        },
        {"Name": "S", "Type": "Succeed", "Output": "{% 1 %}"},
        Comment="all of it",
        TimeoutSeconds=100,
        Version="1.0",
    )
    definition["States"]["W"]["Next"] = "C"
    assert set(parse(text(definition)).scope.states) == {"A", "M", "P", "W", "C", "S"}
