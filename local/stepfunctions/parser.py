"""Reads a definition and refuses, by state and field, everything that this engine does not carry out exactly.

All problems are collected and told at once, in AWS's form:
`Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: <what is wrong> at /States/Foo/Retry[0]/MaxDelaySeconds'`.
What AWS takes and our machines do not use (JSONPath, distributed Map, heartbeats, ...) is refused too: an engine that
silently ignores a field would tell lies about what the machine does on AWS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.stepfunctions import fields, reachability, resources
from local.stepfunctions.definition import (
    ABSENT,
    Catcher,
    Choice,
    Definition,
    Fail,
    Map,
    Parallel,
    Pass,
    Resource,
    Retrier,
    Rule,
    Scope,
    State,
    Succeed,
    Task,
    Wait,
)
from local.stepfunctions.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.stepfunctions.expressions import Json

Object = dict[str, Any]

MAX_DEFINITION_BYTES = 1024 * 1024
MAX_STATE_NAME_CHARACTERS = 80
MAX_SECONDS = 99_999_999
MAX_RETRY_DELAY_SECONDS = 31_622_400


def parse(text: str) -> Definition:
    """The definition in this text. Raises ApiError InvalidDefinition, which names every state and field that is wrong."""
    if len(text.encode()) > MAX_DEFINITION_BYTES:
        raise _invalid([f"INVALID_JSON_DESCRIPTION: the definition is larger than {MAX_DEFINITION_BYTES} bytes at /"])
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _invalid([f"INVALID_JSON_DESCRIPTION: {error} at /"]) from error
    parser = _Parser()
    definition = parser.definition(document)
    if parser.problems or definition is None:
        raise _invalid(parser.problems)
    return definition


def _without_duplicates(pairs: list[tuple[str, Json]]) -> Object:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"Duplicate field '{next(name for name in names if names.count(name) > 1)}'")
    return found


def _invalid(problems: Iterable[str]) -> ApiError:
    return ApiError("InvalidDefinition", "Invalid State Machine Definition: '" + ", ".join(problems) + "'")


class _Parser(fields.Checks):
    def __init__(self) -> None:
        super().__init__()
        self._names: set[str] = set()

    def definition(self, document: object) -> Definition | None:
        if not isinstance(document, dict):
            self.problem("the definition must be an object", "/")
            return None
        self.only(document, {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"}, "")
        if document.get("QueryLanguage") != "JSONata":
            self.problem("QueryLanguage must be 'JSONata'; JSONPath, the default, is not supported", "/QueryLanguage")
        if document.get("Version", "1.0") != "1.0":
            self.problem("Version must be '1.0'", "/Version")
        timeout = self.integer(document, "TimeoutSeconds", "", minimum=1, maximum=MAX_SECONDS)
        scope = self.scope(document, "", None)
        return Definition(scope, timeout)

    def scope(self, document: Object, path: str, allowed: set[str] | None) -> Scope:
        if allowed is not None:
            self.only(document, allowed | {"StartAt", "States"}, path)
        raw = document.get("States")
        if not isinstance(raw, dict) or not raw:
            self.problem("States must be an object with at least one state", f"{path}/States")
            return Scope("", {})
        states: dict[str, State] = {}
        for name, body in raw.items():
            where = f"{path}/States/{name}"
            if not 1 <= len(name) <= MAX_STATE_NAME_CHARACTERS:
                self.problem(f"a state's name has 1 to {MAX_STATE_NAME_CHARACTERS} characters", where)
            if name in self._names:
                self.problem("another state of this machine has the same name", where)
            self._names.add(name)
            state = self.state(name, body, where)
            if state is not None:
                states[name] = state
        start = self.text(document, "StartAt", path, required=True) or ""
        if not start:
            pass  # told already
        elif start not in raw:
            self.target(f"Missing 'StartAt' target: {start}", f"{path}/StartAt")
        elif len(states) == len(raw):
            reachability.check(self, start, states, path)
        return Scope(start, states)

    def state(self, name: str, body: object, path: str) -> State | None:
        if not isinstance(body, dict):
            self.problem("a state must be an object", path)
            return None
        kind = body.get("Type")
        known = _STATES.get(kind) if isinstance(kind, str) else None
        if known is None:
            self.problem(f"Type must be one of {', '.join(_STATES)}", f"{path}/Type")
            return None
        build, allowed = known
        self.only(body, allowed | {"Type", "Comment", "QueryLanguage"}, path)
        if body.get("QueryLanguage", "JSONata") != "JSONata":
            self.problem("QueryLanguage must be 'JSONata'", f"{path}/QueryLanguage")
        if "Next" in allowed and ("Next" in body) == (body.get("End") is True):
            self.problem('exactly one of Next and "End": true is required', path)
        if "End" in body and body["End"] is not True:
            self.problem("End must be true, or left out", f"{path}/End")
        common: dict[str, Any] = {
            "name": name,
            "next": self.text(body, "Next", path),
            "output": self.template(body, "Output", path),
            "assign": self.assign(body, path),
            "retry": self.retriers(body, path),
            "catch": self.catchers(body, path),
        }
        return build(self, body, path, common)

    def retriers(self, body: Object, path: str) -> tuple[Retrier, ...]:
        return tuple(
            self._retrier(raw, f"{path}/Retry[{index}]", last=last) for index, raw, last in self.objects(body, "Retry", path)
        )

    def _retrier(self, raw: Object, path: str, *, last: bool) -> Retrier:
        known = {"ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy", "Comment"}
        self.only(raw, known, path)
        interval = self.integer(raw, "IntervalSeconds", path, minimum=1, maximum=MAX_SECONDS)
        max_attempts = self.integer(raw, "MaxAttempts", path, minimum=0, maximum=MAX_SECONDS)
        max_delay = self.integer(raw, "MaxDelaySeconds", path, minimum=1, maximum=MAX_RETRY_DELAY_SECONDS - 1)
        if max_delay is not None and max_delay <= (interval or 1):
            self.problem("MaxDelaySeconds must be greater than IntervalSeconds", f"{path}/MaxDelaySeconds")
        backoff = raw.get("BackoffRate", 2.0)
        if isinstance(backoff, bool) or not isinstance(backoff, int | float) or backoff < 1:
            self.problem("BackoffRate must be a number of at least 1.0", f"{path}/BackoffRate")
            backoff = 1.0
        jitter = raw.get("JitterStrategy", "NONE")
        if jitter not in ("FULL", "NONE"):
            self.problem("JitterStrategy must be FULL or NONE", f"{path}/JitterStrategy")
        return Retrier(
            error_equals=self.error_equals(raw, path, last=last),
            interval_seconds=1 if interval is None else interval,
            backoff_rate=float(backoff),
            max_attempts=3 if max_attempts is None else max_attempts,
            max_delay_seconds=max_delay,
            full_jitter=jitter == "FULL",
        )

    def catchers(self, body: Object, path: str) -> tuple[Catcher, ...]:
        catchers = []
        for index, raw, last in self.objects(body, "Catch", path):
            where = f"{path}/Catch[{index}]"
            self.only(raw, {"ErrorEquals", "Next", "Output", "Assign", "Comment"}, where)
            catchers.append(
                Catcher(
                    error_equals=self.error_equals(raw, where, last=last),
                    next=self.text(raw, "Next", where, required=True) or "",
                    output=self.template(raw, "Output", where),
                    assign=self.assign(raw, where),
                )
            )
        return tuple(catchers)


def _pass(_parser: _Parser, _body: Object, _path: str, common: dict[str, Any]) -> State:
    return Pass(**common)


def _succeed(_parser: _Parser, _body: Object, _path: str, common: dict[str, Any]) -> State:
    return Succeed(**common)


def _fail(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    return Fail(
        **common,
        error=parser.text_template(body, "Error", path),
        cause=parser.text_template(body, "Cause", path),
    )


def _wait(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    if ("Seconds" in body) == ("Timestamp" in body):
        parser.problem("exactly one of Seconds and Timestamp is required", path)
    return Wait(
        **common,
        seconds=parser.number_template(body, "Seconds", path, minimum=0, maximum=MAX_SECONDS),
        timestamp=parser.text_template(body, "Timestamp", path),
    )


def _choice(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    rules = []
    for index, raw, _ in parser.objects(body, "Choices", path, required=True):
        where = f"{path}/Choices[{index}]"
        parser.only(raw, {"Condition", "Next", "Output", "Assign", "Comment"}, where)
        rules.append(
            Rule(
                condition=parser.condition(raw, where),
                next=parser.text(raw, "Next", where, required=True) or "",
                output=parser.template(raw, "Output", where),
                assign=parser.assign(raw, where),
            )
        )
    default = parser.text(body, "Default", path)
    return Choice(**{**common, "next": default}, choices=tuple(rules))


def _task(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    text = parser.text(body, "Resource", path, required=True) or ""
    resource = Resource(text, "", "")
    arguments = parser.template(body, "Arguments", path)
    try:
        resource = resources.resource(text)
    except ValueError as error:
        if text:
            parser.problem(str(error), f"{path}/Resource")
    else:
        for problem, field in resources.argument_problems(resource, arguments):
            parser.problem(problem, f"{path}/Arguments{field}")
    timeout = parser.number_template(body, "TimeoutSeconds", path, minimum=1, maximum=MAX_SECONDS)
    return Task(**common, resource=resource, arguments=arguments, timeout_seconds=timeout)


def _map(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    where = f"{path}/ItemProcessor"
    raw = parser.object(body, "ItemProcessor", path)
    config = raw.get("ProcessorConfig", {"Mode": "INLINE"})
    if config != {"Mode": "INLINE"}:
        parser.problem('only {"Mode": "INLINE"} is supported', f"{where}/ProcessorConfig")
    items = parser.template(body, "Items", path)
    if items is not ABSENT and not isinstance(items, list) and not fields.is_template(items):
        parser.problem("Items must be an array or a JSONata expression", f"{path}/Items")
    return Map(
        **common,
        processor=parser.scope(raw, where, {"ProcessorConfig", "Comment"}),
        items=items,
        item_selector=parser.template(body, "ItemSelector", path),
        max_concurrency=parser.number_template(body, "MaxConcurrency", path, minimum=0, maximum=MAX_SECONDS),
    )


def _parallel(parser: _Parser, body: Object, path: str, common: dict[str, Any]) -> State:
    branches = tuple(
        parser.scope(raw, f"{path}/Branches[{index}]", {"Comment"})
        for index, raw, _ in parser.objects(body, "Branches", path, required=True)
    )
    return Parallel(**common, branches=branches, arguments=parser.template(body, "Arguments", path))


_FLOW = {"Next", "End", "Output", "Assign"}
_FAILURE = {"Retry", "Catch"}
_STATES: dict[str, tuple[Callable[[_Parser, Object, str, dict[str, Json]], State], set[str]]] = {
    "Task": (_task, _FLOW | _FAILURE | {"Resource", "Arguments", "TimeoutSeconds"}),
    "Map": (_map, _FLOW | _FAILURE | {"ItemProcessor", "Items", "ItemSelector", "MaxConcurrency"}),
    "Parallel": (_parallel, _FLOW | _FAILURE | {"Branches", "Arguments"}),
    "Choice": (_choice, {"Choices", "Default", "Output", "Assign"}),
    "Wait": (_wait, _FLOW | {"Seconds", "Timestamp"}),
    "Pass": (_pass, _FLOW),
    "Succeed": (_succeed, {"Output"}),
    "Fail": (_fail, {"Error", "Cause"}),
}
