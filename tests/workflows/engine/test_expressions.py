"""JSONata as Step Functions has it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from local.stepfunctions import expressions
from local.stepfunctions.expressions import QueryError, evaluate

NOW = 1_795_000_000.25
STATES = {"input": {"one": [1], "two": [1, 2], "none": [], "empty": None, "n": 4, "text": "a"}}


def value(source: str, **variables: Any) -> Any:
    return evaluate("{% " + source + " %}", {"states": STATES, **variables}, field="Output", now=NOW)


VALUES = [  # test_jsonata.py asks npm's JSONata too
    ("$states.input.two", [1, 2]),
    ("$states.input.empty", None),
    ("$states.input.n / 2", 2),
    ("$states.input.n / 8", 0.5),
    ("$sum([1, 2])", 3),
    ("[1..3]", [1, 2, 3]),
    ("$x + 1", 4),
    ("$nothing", None),
    ('{"a": $states.input.empty, "b": $states.input.missing}', {"a": None}),
    ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
    ("$partition([1], 2)", [[1]]),
    ("$range(0, 10, 5)", [0, 5, 10]),
    ("$range(3, 1, -1)", [3, 2, 1]),
    ("$range(1, 9, 9)", 1),
    ("$partition([0], 1)", [[0]]),
    ("$parse('-0')", 0),
    ("$hash('a/p/1', 'SHA-256')", hashlib.sha256(b"a/p/1").hexdigest()),
    ("$hash('x', 'MD5')", hashlib.md5(b"x", usedforsecurity=False).hexdigest()),
    ("$parse('{\"a\": [1]}').a", [1]),
    ("$random(7) = $random(7)", True),
    ("$random() < 1", True),
    ("$length($uuid())", 36),
    ("$millis()", 1_795_000_000_250),
    ("$now()", "2026-11-18T11:06:40.250Z"),
]


@pytest.mark.parametrize(("source", "expected"), VALUES)
def test_value(source: str, expected: Any) -> None:
    assert value(source, x=3, nothing=None) == expected


def test_a_sequence_of_one_element_becomes_the_element() -> None:
    assert value("$map($states.input.one, function($v) {$v})") == 1
    assert value("$filter($states.input.two, function($v) {$v > 1})") == 2
    assert value("[$filter($states.input.two, function($v) {$v > 1})]") == [2]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("$states.input.missing", "returned nothing (undefined)"),
        ("$filter([1], function($v) {$v > 1})", "returned nothing (undefined)"),
        ("$states.input.n & {} > 1", "threw an error"),
        ("'a' + 1", "threw an error"),
        ("1 / 0", "threw an error"),
        ("function($x) {$x}", "unsupported result type"),
        ("$hash('x', 'SHA-3')", "threw an error"),
        ("$unknown()", "threw an error"),
        ("($f := function($x) {$f($x + 1) + 1}; $f(1))", "threw an error"),
        ("$randomSeeded(1)", "threw an error during evaluation. T1006: Attempted to invoke a non-function"),
    ],
)
def test_what_has_no_value_is_an_error(source: str, reason: str) -> None:
    with pytest.raises(QueryError) as failed:
        value(source)
    assert reason in failed.value.reason
    assert failed.value.field == "Output"


def test_an_expression_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "EVALUATION_SECONDS", 0.05)
    with pytest.raises(QueryError, match="took longer"):
        value("($f := function($x) {$f($x + 1)}; $f(1))")


def test_templates_are_whole_strings_anywhere_in_json() -> None:
    template = {"a": ["{% 1 + 1 %}", "plain {% 1 %}"], "b": {"c": True, "d": None}}
    assert evaluate(template, {}, field="Arguments", now=NOW) == {"a": [2, "plain {% 1 %}"], "b": {"c": True, "d": None}}


def test_the_location_of_an_error_is_told() -> None:
    with pytest.raises(QueryError) as failed:
        evaluate({"Payload": {"x": ["{% $nope %}"]}}, {}, field="Arguments", now=NOW)
    assert failed.value.field == "Arguments/Payload/x[0]"
