"""A state machine's definition, as the interpreter reads it: the Amazon States Language that our machines use, in JSONata.

`parser.py` makes these from JSON and refuses everything else. Templates (`Json` fields) may hold `{% ... %}` strings.
Source: https://states-language.net and https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stepfunctions.expressions import Json


class Absent:
    """The value of a template that the definition does not have (null would be a value)."""


ABSENT: Any = Absent()


@dataclass(frozen=True)
class Retrier:
    error_equals: tuple[str, ...]
    interval_seconds: int
    backoff_rate: float
    max_attempts: int
    max_delay_seconds: int | None
    full_jitter: bool


@dataclass(frozen=True)
class Catcher:
    error_equals: tuple[str, ...]
    next: str
    output: Json
    assign: Json


@dataclass(frozen=True)
class Rule:
    """One choice of a Choice state."""

    condition: Json
    next: str
    output: Json
    assign: Json


@dataclass(frozen=True)
class State:
    """What every state has. `next` is None where the flow ends after it; a Choice's is its Default."""

    type: ClassVar[str]

    name: str
    next: str | None
    output: Json
    assign: Json
    retry: tuple[Retrier, ...]
    catch: tuple[Catcher, ...]


@dataclass(frozen=True)
class Pass(State):
    type = "Pass"


@dataclass(frozen=True)
class Succeed(State):
    type = "Succeed"


@dataclass(frozen=True)
class Fail(State):
    type = "Fail"
    error: Json
    cause: Json


@dataclass(frozen=True)
class Wait(State):
    """Exactly one of `seconds` and `timestamp` is there."""

    type = "Wait"
    seconds: Json
    timestamp: Json


@dataclass(frozen=True)
class Choice(State):
    type = "Choice"
    choices: tuple[Rule, ...]


@dataclass(frozen=True)
class Resource:
    """What a Task calls: `arn:aws:states:::<service>:<action>`, named in history events by its two halves."""

    arn: str
    service: str
    action: str

    @property
    def starts_child(self) -> bool:
        return self.service == "states"


@dataclass(frozen=True)
class Task(State):
    type = "Task"
    resource: Resource
    arguments: Json
    timeout_seconds: Json


@dataclass(frozen=True)
class Map(State):
    type = "Map"
    processor: Scope
    items: Json
    item_selector: Json
    max_concurrency: Json


@dataclass(frozen=True)
class Parallel(State):
    type = "Parallel"
    branches: tuple[Scope, ...]
    arguments: Json


@dataclass(frozen=True)
class Scope:
    """States that lead to each other: the machine's own, a branch's, or an iteration's."""

    start_at: str
    states: Mapping[str, State]


@dataclass(frozen=True)
class Definition:
    scope: Scope
    timeout_seconds: int | None
