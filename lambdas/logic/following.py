"""Follow an execution of `ingest` after an event about it: the association's row says how it is.

Events are best effort, late and out of order, so the event is only a hint to look: what is written is DescribeExecution's
answer, and only if the execution holds the association's lease. The association is taken from the execution's own input.

Who follows tells people of the end that stands in the row then, whoever wrote it, if nobody has told of it yet. Only what was
told is noted as told, so an end may be told twice, and never not at all: `missed` looks for those that nobody told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from contract.strict import ContractError
from lambdas.adapters.aws import Execution
from lambdas.catalog import Catalog, associations, ledger
from lambdas.catalog.associations import COMPLETE, INCOMPLETE, LEDGER_MISMATCH, RUNNING, ExecutionState
from lambdas.catalog.connection import Cursor
from lambdas.errors import IncompleteError, LedgerMismatchError
from lambdas.logic.reconciling import verdict
from lambdas.logic.starting import parse_announcement

# An execution succeeds by Reconcile's COMPLETE alone, and fails by its two errors only with these verdicts; of the catalog that
# it wrote to.
_STATUS: Mapping[str, str] = {
    "RUNNING": RUNNING,
    "PENDING_REDRIVE": RUNNING,
    "SUCCEEDED": COMPLETE,
    "FAILED": "FAILED",
    "TIMED_OUT": "TIMED_OUT",
    "ABORTED": "ABORTED",
}
_VERDICT_OF_ERROR = {IncompleteError.__name__: INCOMPLETE, LedgerMismatchError.__name__: LEDGER_MISMATCH}
_TIMED_OUT_ERROR = "States.Timeout"


class DescribesExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def describe(self, execution_arn: str) -> Execution | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An association, how its execution is, and whether its row was `changed` to say so.

    `untold` is the end that the row says now, if the execution has ended and nobody was told of that end.
    """

    association: str
    edge: str
    state: ExecutionState
    changed: bool
    untold: ExecutionState | None


def follow(catalog: Catalog, executions: DescribesExecutions, execution_arn: str) -> Followed | None:
    """Bring the association's row in line with the execution; None when Step Functions does not know it.

    An execution that ended before it could register its association gets a row, so that operators see it.
    Raises ContractError when the execution's input is no announcement, and those of Catalog and Storage.
    """
    execution = executions.describe(execution_arn)
    return None if execution is None else follow_described(catalog, execution)


def follow_described(catalog: Catalog, execution: Execution) -> Followed:
    """`follow`, of an execution as it was described just now."""
    announcement = parse_announcement(execution.input)
    message, state = announcement.message, state_of(execution)

    def write(cursor: Cursor) -> bool:
        if associations.origin(cursor, message.association) is not None:
            return associations.follow(cursor, message.association, state)
        if state.status != RUNNING:
            associations.note_unregistered(cursor, announcement, state)
        return state.status != RUNNING

    def work(cursor: Cursor) -> Followed:
        changed = write(cursor)
        if changed and state.status == COMPLETE:
            _look_at_ledger(cursor, message.association, state.execution_arn)
        ended = state.status != RUNNING
        untold = associations.untold_end(cursor, message.association, state.execution_arn) if ended else None
        return Followed(association=message.association, edge=message.edge, state=state, changed=changed, untold=untold)

    return catalog.transaction(work)


def _look_at_ledger(cursor: Cursor, association: str, execution_arn: str) -> None:
    """Take COMPLETE back where the ledger does not say so: the catalog may be another than the one that the execution wrote to,
    since restored from a backup, or rebuilt while the execution ran."""
    counts = ledger.counts(cursor, association)
    status, error = verdict(association, counts) if counts is not None else (COMPLETE, None)
    if error is not None:
        associations.set_verdict(cursor, association, execution_arn, status, type(error).__name__)


def state_of(execution: Execution) -> ExecutionState:
    """The execution in the words of `association.status`."""
    status = _STATUS.get(execution.status)
    if status is None:
        raise ContractError("DescribeExecution: a status that this program does not know")
    status = _VERDICT_OF_ERROR.get(execution.error, status) if status == "FAILED" else status
    error = execution.error or (_TIMED_OUT_ERROR if status == "TIMED_OUT" else None)
    return ExecutionState(
        execution_arn=execution.arn,
        redrive_count=execution.redrive_count,
        status=status,
        error=error[:256] if error and status not in (RUNNING, COMPLETE) else None,
    )
