"""Follow the executions whose events were lost: rows that say otherwise than Step Functions.

Step Functions tells EventBridge of a change of status as best it can, and no more; an event that came may still end among
the dead letters. So somebody looks, again and again: at rows that are open and whose execution does not run, and at rows that
ended badly and whose execution runs, since it was redriven. What is written is what the event would have led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from contract.strict import ContractError
from lambdas.adapters.aws import Execution, execution_arn
from lambdas.catalog import Catalog, orphans
from lambdas.catalog.connection import Cursor
from lambdas.catalog.orphans import Kind, OpenAssociation, Orphan
from lambdas.logic.following import Followed, follow_described

EVENT_WITHIN = timedelta(seconds=10)
"""How long the event of an end may take, before a look at the execution takes its place."""


class ListsExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def describe(self, execution_arn: str) -> Execution | None: ...

    def running(self, state_machine_arn: str) -> set[str]: ...

    def newest(self, state_machine_arn: str) -> str | None: ...


class MissedEvents:
    """Kept from look to look. While it is `quiet`, nothing ran at the last look. Where nothing has started since then either,
    the catalog is not asked, so that one which pauses when it is idle may pause."""

    def __init__(self) -> None:
        self.quiet = False
        self._newest: str | None = None

    def look(self, catalog: Catalog, executions: ListsExecutions, state_machine_arn: str, now: datetime) -> Iterator[Followed]:
        """Bring the rows in line; each one that was changed, once it is. `now` has its zone.

        An execution that Step Functions does not know (any more) is left to the sweep. Raises those of Catalog and Storage.
        """
        newest, running = executions.newest(state_machine_arn), executions.running(state_machine_arn)
        if self.quiet and not running and newest == self._newest:
            return
        self.quiet, self._newest = False, newest
        moment = now.astimezone(UTC).replace(tzinfo=None)

        def suspects(cursor: Cursor) -> list[OpenAssociation]:
            ended = [row for row in orphans.open_since(cursor, moment) if row.execution_arn not in running]
            return ended + orphans.ended_but_held_by(cursor, running)

        looks_again = bool(running)
        for row in catalog.transaction(suspects):
            execution = executions.describe(row.execution_arn or execution_arn(state_machine_arn, row.association))
            if execution is None:
                continue
            if execution.stopped_at is not None and execution.stopped_at > now - EVENT_WITHIN:
                looks_again = True
                continue
            looks_again = looks_again or execution.stopped_at is None
            followed = _followed(catalog, row, execution, moment)
            if followed is not None:
                yield followed
        self.quiet = not looks_again


def _followed(catalog: Catalog, row: OpenAssociation, execution: Execution, moment: datetime) -> Followed | None:
    """What following the execution has changed, noted as astray and settled; or None."""
    try:
        followed = follow_described(catalog, execution)
    except ContractError:  # its input was nobody's announcement: the sweep lists it
        return None
    if not followed.changed:
        return None
    orphan = Orphan(
        kind=Kind.EVENT_LOST,
        association=row.association,
        edge=row.edge,
        detail=f"execution {execution.status}",
        since=row.status_changed_at,
        settled=True,
    )
    catalog.transaction(lambda cursor: orphans.note(cursor, [orphan], moment))
    return followed
