"""Where the states of one scope lead: every target is there, every state is reached, and the flow can end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.stepfunctions.definition import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stepfunctions.definition import State
    from local.stepfunctions.fields import Checks


def check(checks: Checks, start: str, states: Mapping[str, State], path: str) -> None:
    """Tells `checks` what is wrong; `start` is one of the states, and `path` is where the scope stands."""
    seen: set[str] = set()
    waiting = [start]
    ends = False
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        targets = _targets(states[name])
        ends = ends or not targets or (states[name].next is None and not isinstance(states[name], Choice))
        for location, target in targets:
            if target in states:
                waiting.append(target)
            elif target:
                checks.target(f"Missing 'Next' target: {target}", f"{path}/States/{name}/{location}")
    for name in states.keys() - seen:
        checks.target(f'State "{name}" is not reachable.', f"{path}/States/{name}")
    if not ends:
        checks.problem('no state ends the flow: one must have "End": true, or be a Succeed or Fail state', f"{path}/States")


def _targets(state: State) -> list[tuple[str, str]]:
    field = "Default" if isinstance(state, Choice) else "Next"
    targets = [(field, state.next)] if state.next is not None else []
    targets += [(f"Catch[{index}]/Next", catcher.next) for index, catcher in enumerate(state.catch)]
    if isinstance(state, Choice):
        targets += [(f"Choices[{index}]/Next", rule.next) for index, rule in enumerate(state.choices)]
    return targets
