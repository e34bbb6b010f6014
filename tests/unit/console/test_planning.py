"""What a replay does for an association, decided from how it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from console.aws.machines import Run
from console.planning import Act, NotImported, Subject, plan
from tests.support.ledgers import counts

if TYPE_CHECKING:
    from lambdas.catalog.ledger import LedgerCounts

ASSOCIATION = "20261124T021501Z-CT_1-00000001"
FAILED = Run(
    arn=f"arn:aws:states:us-east-1:000000000000:execution:ingest:{ASSOCIATION}",
    status="FAILED",
    started_at=datetime(2026, 11, 24, tzinfo=UTC),
    redrive_count=0,
    redrive_refusal="",
    error="States.TaskFailed",
    input={},
)
NOTHING_HELD = NotImported(by_service=0, by_customer=0, parts=())
SERVICE_HELD = NotImported(by_service=2, by_customer=1, parts=(1, 3))
CUSTOMER_HELD = NotImported(by_service=0, by_customer=2, parts=(1,))


def subject(
    run: Run | None = FAILED,
    *,
    status: str | None = "FAILED",
    held: NotImported = NOTHING_HELD,
    ledger: LedgerCounts | None = None,
    changed: bool = False,
) -> Subject:
    return Subject(
        association=ASSOCIATION, status=status, run=run, counts=ledger, not_imported=held, definition_changed=changed
    )


INCOMPLETE = replace(FAILED, error="Ingest.Incomplete")
MISMATCH = replace(FAILED, error="Ingest.LedgerMismatch")
OLD = replace(FAILED, redrive_refusal="Execution redrivable period exceeded")


@pytest.mark.parametrize(
    ("one", "act", "said"),
    [
        (subject(), Act.REDRIVE, "from the step that failed"),
        (subject(changed=True), Act.REDRIVE, "--restart takes the new"),
        (subject(replace(FAILED, status="RUNNING")), Act.NOTHING, "it runs"),
        (subject(status="COMPLETE"), Act.NOTHING, "it is COMPLETE"),
        (subject(None), Act.NOTHING, "use --restart"),
        (subject(OLD), Act.NOTHING, "more than 14 days ago, and AWS redrives nothing older: use --restart"),
        (subject(INCOMPLETE, held=SERVICE_HELD, ledger=counts(failed=3)), Act.FAILED_ONLY, "3 object(s) of part(s) 1, 3"),
        (subject(INCOMPLETE, held=CUSTOMER_HELD, ledger=counts(failed=2)), Act.NOTHING, "refused by HealthImaging"),
        (
            subject(INCOMPLETE, ledger=counts(quarantined=1, quarantined_rows=1, indexed=8, not_indexed=2)),
            Act.NOTHING,
            "Objects are quarantined (1), not readable (2), and would be again",
        ),
        (subject(INCOMPLETE, ledger=counts()), Act.REDRIVE, "balances by now"),
        (subject(MISMATCH, ledger=counts(foreign=1)), Act.NOTHING, "remove them there"),
        (subject(MISMATCH, ledger=counts(indexed=8)), Act.NOTHING, "never indexed: use --restart"),
    ],
)
def test_without_a_wish_each_gets_what_helps(one: Subject, act: Act, said: str) -> None:
    planned = plan(one, None, force=False)
    assert planned.act is act
    assert said in planned.why
    red = one.status != "COMPLETE" and (one.run is None or one.run.status != "RUNNING")
    assert planned.stuck == (red and act is Act.NOTHING)


@pytest.mark.parametrize(
    ("one", "asked", "force", "act"),
    [
        (subject(INCOMPLETE, held=CUSTOMER_HELD), Act.REDRIVE, False, Act.REDRIVE),
        (subject(INCOMPLETE, held=CUSTOMER_HELD), Act.FAILED_ONLY, False, Act.FAILED_ONLY),
        (subject(OLD, held=SERVICE_HELD), Act.FAILED_ONLY, False, Act.FAILED_ONLY),
        (subject(INCOMPLETE), Act.FAILED_ONLY, False, Act.REDRIVE),
        (subject(OLD), Act.RESTART, False, Act.RESTART),
        (subject(None, status=None), Act.RESTART, False, Act.RESTART),
        (subject(status="COMPLETE"), Act.RESTART, False, Act.NOTHING),
        (subject(status="COMPLETE"), Act.RESTART, True, Act.RESTART),
        (subject(), None, True, Act.RESTART),
        (subject(replace(FAILED, status="RUNNING")), Act.RESTART, True, Act.NOTHING),
    ],
)
def test_a_wish_is_followed_where_it_can_be(one: Subject, asked: Act | None, force: bool, act: Act) -> None:
    assert plan(one, asked, force=force).act is act


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Execution redrivable period exceeded", "14 days"),
        ("Execution history event limit exceeded", "25,000 events"),
        ("Execution has exceeded the max execution time", "a year ago"),
        ("Execution was started before the launch of RedriveExecution", "before AWS had redrives"),
        ("Execution is SUCCEEDED and cannot be redriven", "it has succeeded"),
        ("a reason of next year", "AWS says: a reason of next year"),
    ],
)
def test_each_refusal_of_a_redrive_is_told_in_an_operators_words(reason: str, said: str) -> None:
    planned = plan(subject(replace(FAILED, redrive_refusal=reason)), None, force=False)
    assert planned.act is Act.NOTHING
    assert said in planned.why
