"""Machines that nobody wrote: whatever they do, our engine and moto's come to the same end by the same history."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.machines import fail, machine, map_, parallel, pass_
from tests.workflows.engine.conformance.behaviours import Behaviour, call, catch, retry
from tests.workflows.engine.conformance.targets import MotosEngine, OurEngine, Result

Json = Any
State = dict[str, Any]

ERRORS = st.sampled_from(["X", "Y", "Z"])
NAMED = st.lists(st.sampled_from(["X", "Y", "Z", "States.TaskFailed"]), min_size=1, max_size=2, unique=True)
STEPS = st.one_of(ERRORS.map(lambda error: {"raise": error}), st.integers(0, 9).map(lambda value: {"return": value}))


@st.composite
def retriers(draw: st.DrawFn) -> list[Json]:
    made = []
    for names in draw(st.lists(NAMED, max_size=2)):
        interval = draw(st.integers(1, 4))
        more = {"MaxDelaySeconds": interval + draw(st.integers(1, 4))} if draw(st.booleans()) else {}
        backoff, attempts = draw(st.sampled_from([1, 1.5, 2, 3])), draw(st.integers(0, 3))
        made.append(retry(*names, IntervalSeconds=interval, BackoffRate=backoff, MaxAttempts=attempts, **more))
    return made + ([retry("States.ALL", MaxAttempts=draw(st.integers(0, 2)))] if draw(st.booleans()) else [])


@st.composite
def flows(draw: st.DrawFn, depth: int, names: itertools.count[int]) -> list[State]:
    """States one after the other; a Catch leads to the last."""
    last = f"Last{next(names)}"
    states: list[State] = []
    for kind in draw(
        st.lists(st.sampled_from(["task", "parallel", "map"] if depth else ["task", "pass"]), min_size=1, max_size=3)
    ):
        catchers = [catch(*each, to=last) for each in draw(st.lists(NAMED, max_size=2))]
        more = {"Retry": draw(retriers()), "Catch": catchers}
        more = {field: value for field, value in more.items() if value}
        name = f"{kind}{next(names)}"
        if kind == "task":
            states.append(call(name, *draw(st.lists(STEPS, min_size=1, max_size=4)), **more))
        elif kind == "parallel":  # of one branch: the order of several is that of threads on moto's engine
            states.append(parallel(name, draw(flows(depth - 1, names)), **more))
        elif kind == "map":
            items = draw(st.lists(st.integers(0, 3), max_size=3))
            states.append(pass_(f"items{next(names)}", Output={"items": items}))
            inner = draw(flows(depth - 1, names))
            states.append(map_(name, "{% $states.input.items %}", *inner, MaxConcurrency=1, **more))
        else:
            states.append(pass_(name))
    return [*states, fail(last, draw(ERRORS)) if depth == 0 and draw(st.booleans()) else pass_(last)]


@settings(max_examples=12, derandomize=True, deadline=None, phases=[Phase.generate])  # to shrink takes minutes
@given(st.data())
def test_a_machine_does_the_same_on_both_engines(data: st.DataObject) -> None:
    behaviour = Behaviour(machine(*data.draw(flows(2, itertools.count()))))
    with pytest.MonkeyPatch.context() as patch:
        theirs, ours = MotosEngine(patch).run(behaviour), OurEngine().run(behaviour)
    assert (ours.status, ours.error) == (theirs.status, theirs.error)
    assert told(ours) == told(theirs, as_in=ours)
    if ours.status == "SUCCEEDED":
        assert names_in(ours.output) == names_in(theirs.output)


def told(result: Result, *, as_in: Result | None = None) -> list[str]:
    """The history; without ids where a state was aborted, of which moto's tells nothing (recorded on AWS: README.md)."""
    if any("StateAborted" in event for event in (as_in or result).history):
        return [event.partition("<")[0] for event in result.history if "StateAborted" not in event]
    return result.history


def names_in(output: Json) -> Json:
    """The output without the Causes, which are worded and spaced by each engine."""
    if isinstance(output, dict):
        return {key: names_in(value) for key, value in output.items() if key != "Cause"}
    return [names_in(item) for item in output] if isinstance(output, list) else output
