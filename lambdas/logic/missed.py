"""Follow the executions whose events were lost: the catalog says otherwise than Step Functions.

Step Functions tells EventBridge of a change of status as best it can, and no more; an event that came may still end among
the dead letters. So somebody looks, again and again, for

- rows that are open and whose execution does not run;
- rows that ended badly and whose execution runs, since it was redriven;
- executions that ended badly since the last look: before they could write a row, or in a redrive of which no event came;
- rows that say an end of which nobody was told: the event would only have led to that, since a verdict is written by the
  execution itself, and since whoever followed it may have failed in between.

What is written is what the event would have led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from contract.strict import ContractError
from lambdas.adapters.aws import Execution, ListedExecution, execution_arn
from lambdas.catalog import Catalog, orphans
from lambdas.catalog.connection import Cursor
from lambdas.catalog.orphans import Kind, Orphan, UntoldAssociation
from lambdas.logic.following import Followed, follow_described

EVENT_WITHIN = timedelta(seconds=10)
"""How long the event of an end may take, before a look at the execution takes its place."""
_ENDED_BADLY = {"FAILED", "TIMED_OUT", "ABORTED"}


class ListsExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def describe(self, execution_arn: str) -> Execution | None: ...

    def running(self, state_machine_arn: str) -> set[str]: ...

    def latest(self, state_machine_arn: str) -> list[ListedExecution]: ...


class MissedEvents:
    """Kept from look to look. While it is `quiet`, nothing ran at the last look. Where nothing has started since then either,
    the catalog is not asked, so that one which pauses when it is idle may pause."""

    def __init__(self) -> None:
        self.quiet = False
        self._latest: list[ListedExecution] = []
        self._looked_at = datetime.min.replace(tzinfo=UTC)

    def look(self, catalog: Catalog, executions: ListsExecutions, state_machine_arn: str, now: datetime) -> Iterator[Followed]:
        """Bring the catalog in line; each association that was changed, or of whose end nobody was told. `now` has its zone.

        An execution that Step Functions does not know (any more) is left to the sweep, unless its row says how it ended.
        Raises those of Catalog and Storage.
        """
        latest, running = executions.latest(state_machine_arn), executions.running(state_machine_arn)
        if self.quiet and not running and latest[:1] == self._latest:
            return
        self.quiet = False
        unlooked = [one for one in latest if one.status in _ENDED_BADLY and self._not_looked_at(one)]

        def suspects(cursor: Cursor) -> dict[str, UntoldAssociation | None]:
            """By the ARN of the execution; with what its row says, where that is an end."""
            rows = orphans.open_since(cursor, _naive(now))
            held = (row.execution_arn or execution_arn(state_machine_arn, row.association) for row in rows)
            redriven = (row.execution_arn or "" for row in orphans.ended_but_held_by(cursor, running))
            untold = {one.end.execution_arn: one for one in orphans.untold(cursor)}
            ended = (one.arn for one in unlooked)
            return {arn: untold.get(arn) for arn in (*(set(held) - running), *redriven, *ended, *(untold.keys() - running))}

        looks_again = bool(running)
        for arn, untold in catalog.transaction(suspects).items():
            execution = executions.describe(arn)
            if execution is None:
                if untold is not None:
                    yield _by_its_row(untold)
                continue
            if execution.stopped_at is not None and execution.stopped_at > now - EVENT_WITHIN:
                looks_again = True
                continue
            looks_again = looks_again or execution.stopped_at is None
            followed = _followed(catalog, execution, now)
            if followed is not None:
                yield followed
        self.quiet, self._latest, self._looked_at = not looks_again, latest[:1], now

    def _not_looked_at(self, one: ListedExecution) -> bool:
        return one.stopped_at is not None and one.stopped_at + EVENT_WITHIN > self._looked_at


def _followed(catalog: Catalog, execution: Execution, now: datetime) -> Followed | None:
    """What following the execution has changed, or must be told, noted as astray and settled; or None."""
    try:
        followed = follow_described(catalog, execution)
    except ContractError:  # its input was nobody's announcement: the sweep lists it
        return None
    if not followed.changed and followed.untold is None:
        return None
    orphan = Orphan(
        kind=Kind.EVENT_LOST,
        association=followed.association,
        edge=followed.edge,
        detail=f"execution {execution.status}",
        since=_naive(execution.stopped_at or now),
        settled=True,
    )
    catalog.transaction(lambda cursor: orphans.note(cursor, [orphan], _naive(now)))
    return followed


def _by_its_row(untold: UntoldAssociation) -> Followed:
    return Followed(association=untold.association, edge=untold.edge, state=untold.end, changed=False, untold=untold.end)


def _naive(moment: datetime) -> datetime:
    """UTC without its zone, as columns have it."""
    return moment.astimezone(UTC).replace(tzinfo=None)
