"""State machines: what their creations and updates add up to. Used in the engine's thread alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.stepfunctions import names
from local.stepfunctions.errors import ApiError
from local.stepfunctions.parser import parse

if TYPE_CHECKING:
    from local.stepfunctions.definition import Definition
    from local.stepfunctions.log import EventLog, MachineEvent


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine as its newest event left it. `revision` is that event's id."""

    arn: str
    name: str
    revision: int
    text: str
    role_arn: str
    created_at: float
    updated_at: float


class Machines:
    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._machines: dict[str, Machine] = {}
        self._revisions: dict[int, Machine] = {}  # all: executions keep the one they started with
        self._definitions: dict[int, Definition] = {}  # of those that were needed
        for event in log.machines():
            self._apply(event)

    def create(self, name: str, definition: str, role_arn: str, at: float) -> Machine:
        """Idempotent with the same definition and role. Raises ApiError."""
        arn = names.machine_arn(name)
        known = self._machines.get(arn)
        if known is not None:
            if (known.text, known.role_arn) == (definition, role_arn):
                return known
            raise ApiError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        return self._apply(self._log.append_machine(at=at, arn=arn, type="Created", definition=definition, role_arn=role_arn))

    def update(self, arn: str, definition: str | None, role_arn: str | None, at: float) -> Machine:
        """Raises ApiError."""
        known = self.get(arn)
        text, role = definition or known.text, role_arn or known.role_arn
        if (text, role) == (known.text, known.role_arn):
            return known
        return self._apply(self._log.append_machine(at=at, arn=arn, type="Updated", definition=text, role_arn=role))

    def get(self, arn: str) -> Machine:
        """Raises ApiError."""
        try:
            return self._machines[arn]
        except KeyError:
            raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'") from None

    def all(self) -> list[Machine]:
        """Oldest first."""
        return list(self._machines.values())

    def revision(self, revision: int) -> Machine:
        """A machine as that event left it."""
        return self._revisions[revision]

    def definition(self, revision: int) -> Definition:
        if revision not in self._definitions:
            self._definitions[revision] = parse(self._revisions[revision].text)
        return self._definitions[revision]

    def _apply(self, event: MachineEvent) -> Machine:
        known = self._machines.get(event.arn)
        created_at = known.created_at if known else event.at
        name = event.arn.rpartition(":")[2]
        machine = Machine(event.arn, name, event.id, event.definition, event.role_arn, created_at, event.at)
        self._machines[event.arn] = machine
        self._revisions[event.id] = machine
        return machine
