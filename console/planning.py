"""What helps an association that is not complete: decided from the catalog's row, its ledger and its execution. Pure.

- A redrive goes on from the step that failed. It helps wherever that step may succeed now.
- An execution that failed by its verdict (Ingest.Incomplete, Ingest.LedgerMismatch) would only read the same ledger again:
  what helps there is to import again what is not imported, and then to redrive it, so that it turns green.
- A restart is a new execution with the same input: where AWS refuses a redrive, or the machine's new definition is wanted.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from console.aws.machines import Run
from lambdas.catalog.associations import COMPLETE
from lambdas.catalog.ledger import LedgerCounts
from lambdas.errors import IncompleteError, LedgerMismatchError
from lambdas.logic.reconciling import verdict

LIVE = {"RUNNING", "PENDING_REDRIVE"}
VERDICTS = {IncompleteError.__name__, LedgerMismatchError.__name__}
"""The errors by which ReconcileAssociation fails an execution."""

# DescribeExecution's redriveStatusReason (Step Functions API reference), by what it contains.
_REFUSALS = {
    "is RUNNING": "it runs",
    "is SUCCEEDED": "it has succeeded",
    "redrivable period exceeded": "it ended more than 14 days ago, and AWS redrives nothing older",
    "history event limit exceeded": "its history is full: AWS keeps 25,000 events of an execution",
    "max execution time": "it was started more than a year ago",
    "before the launch": "it was started before AWS had redrives",
}


class Act(enum.StrEnum):
    """What is done for an association."""

    REDRIVE = "redrive"
    RESTART = "restart"
    FAILED_ONLY = "import what failed, then redrive"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotImported:
    """Objects of an association without an image set, by whose fault; and the parts that they are in."""

    by_service: int
    by_customer: int
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An association as it is now. `status` and `counts` are the catalog's, None when that does not know it.

    `removed` are the foreign objects of its ledger that are not in S3 any more.
    """

    association: str
    status: str | None
    run: Run | None
    counts: LedgerCounts | None
    not_imported: NotImported
    definition_changed: bool
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, and why. `parts` are those to import again, `forget` the keys of foreign objects that are removed.

    `stuck`: nothing can be done, though something should.
    """

    association: str
    act: Act
    why: str
    run: Run | None
    parts: tuple[int, ...] = ()
    forget: tuple[str, ...] = ()
    stuck: bool = False


def plan(subject: Subject, asked: Act | None, *, force: bool) -> Plan:
    """What to do for an association: what was asked, or without that what helps."""
    why_not = _nothing(subject, asked, force=force)
    if why_not:
        return _plan(subject, Act.NOTHING, why_not)
    if asked is Act.RESTART or (force and asked is None):
        return _plan(subject, Act.RESTART, "a new execution, with its input rebuilt from the manifest in S3")
    if asked is Act.FAILED_ONLY and subject.not_imported.parts:
        return _failed_only(subject)
    if asked is None and subject.run is not None and subject.run.error in VERDICTS:
        return _after_verdict(subject)
    return _redrive(subject, "goes on from the step that failed")


def _nothing(subject: Subject, asked: Act | None, *, force: bool) -> str:
    """Why nothing can be done, or needs to be; empty when something can."""
    run = subject.run
    if run is not None and run.status in LIVE:
        return f"it runs: `ahi-ingest wait {subject.association}` follows it"
    if subject.status == COMPLETE and not force:
        return "it is COMPLETE (--restart --force runs it once more)"
    needs_no_redrive = asked is Act.RESTART or force or (asked is Act.FAILED_ONLY and subject.not_imported.parts)
    if needs_no_redrive:
        return ""
    if run is None:
        return "Step Functions knows no execution of it: use --restart"
    return f"{refusal(run.redrive_refusal)}: use --restart" if run.redrive_refusal else ""


def refusal(reason: str) -> str:
    """AWS's reason against a redrive, in an operator's words."""
    return next((words for contained, words in _REFUSALS.items() if contained in reason), f"AWS says: {reason}")


def _after_verdict(subject: Subject) -> Plan:
    counts, held = subject.counts, subject.not_imported
    if counts is not None and verdict(subject.association, counts)[1] is None:
        return _redrive(subject, "its ledger balances by now: reads it again")
    if held.by_service:
        return _failed_only(subject)
    if counts is not None and counts.foreign and counts.foreign == len(subject.removed):
        return replace(_redrive(subject, "its foreign objects are removed: forgets them"), forget=subject.removed)
    if counts is not None and counts.foreign:
        why = f"{counts.foreign} foreign object(s) are below its import prefix: remove them there, then replay it again"
    elif counts is not None and counts.not_looked_at:
        why = f"{counts.not_looked_at} object(s) were never indexed: use --restart"
    else:
        why = f"{_held(counts)}, and would be again: `ahi-ingest show {subject.association}` lists them"
        why += " (--failed-only tries nevertheless)" if held.parts else ""
    return _plan(subject, Act.NOTHING, why)


def _held(counts: LedgerCounts | None) -> str:
    if counts is None:
        return "Some objects are held"
    sums = {
        "refused by HealthImaging": counts.failed,
        "quarantined": counts.quarantined,
        "not readable": counts.not_indexed,
    }
    return "Objects are " + ", ".join(f"{what} ({count})" for what, count in sums.items() if count)


def _failed_only(subject: Subject) -> Plan:
    held = subject.not_imported
    why = f"{held.by_service + held.by_customer} object(s) of part(s) {', '.join(map(str, held.parts))}"
    return _plan(subject, Act.FAILED_ONLY, why, held.parts)


def _redrive(subject: Subject, why: str) -> Plan:
    if subject.definition_changed:
        why += "; its machine's definition has changed since, and a redrive keeps the old one: --restart takes the new"
    return _plan(subject, Act.REDRIVE, why)


def _plan(subject: Subject, act: Act, why: str, parts: tuple[int, ...] = ()) -> Plan:
    red = subject.status != COMPLETE and (subject.run is None or subject.run.status not in LIVE)
    stuck = act is Act.NOTHING and red
    return Plan(association=subject.association, act=act, why=why, run=subject.run, parts=parts, stuck=stuck)
