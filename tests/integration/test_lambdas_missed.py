"""Events that were lost: whoever looks each minute brings the rows in line, and asks the catalog only where that may be so."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas import errors
from lambdas.catalog.queries import Queries
from lambdas.handlers import follow_execution, watch_executions
from lambdas.handlers.environment import executions
from lambdas.handlers.follow_execution import tell
from lambdas.logic.following import follow
from lambdas.logic.missed import EVENT_WITHIN, MissedEvents
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, Run
from tests.support.stepfunctions import MACHINE, execution_arn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import PlacedAssociation, Placer
    from tests.support.stepfunctions import StepFunctionsTable

pytestmark = pytest.mark.usefixtures("lambdas")

NOW = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def run(aws: Aws, placer: Placer, tmp_path: Path) -> Run:
    """An association that has registered."""
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 1)]))
    run.register()
    return run


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch, missed: MissedEvents) -> list[float]:
    """How long the function slept, without sleeping."""
    pauses: list[float] = []
    monkeypatch.setattr(watch_executions, "_MISSED", missed)
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


@pytest.fixture
def missed() -> MissedEvents:
    return MissedEvents()


def look(missed: MissedEvents, catalog: Catalog, now: datetime = NOW) -> list[tuple[str, str]]:
    """What a look changes, and tells as the function does: associations, and how they are now."""
    found = []
    for one in missed.look(catalog, executions(), MACHINE, now):
        tell(one)
        found.append((one.association, one.state.status))
    return found


def put(table: StepFunctionsTable, placed: PlacedAssociation, status: str = "RUNNING", **more: object) -> str:
    return table.put(placed.association, json.dumps(placed.document), status=status, **more)  # type: ignore[arg-type]


def status_of(catalog: Catalog, run: Run) -> tuple[str, str | None, int]:
    row = Queries(catalog).association(run.placed.association)
    assert row is not None
    return row.status, row.error, row.redrive_count


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ({"status": "TIMED_OUT"}, ("TIMED_OUT", "States.Timeout", 0)),
        ({"status": "ABORTED"}, ("ABORTED", None, 0)),
        ({"status": "FAILED", "error": "Catalog.Unavailable"}, ("FAILED", "Catalog.Unavailable", 0)),
        ({"status": "SUCCEEDED"}, ("COMPLETE", None, 0)),
    ],
)
def test_a_row_whose_event_was_lost_says_how_its_execution_ended(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    execution: dict[str, str],
    expected: tuple[str, str | None, int],
) -> None:
    put(step_functions, run.placed)
    assert look(missed, catalog) == [], "it runs"
    put(step_functions, run.placed, **execution)
    assert look(missed, catalog) == [(run.placed.association, expected[0])]
    assert status_of(catalog, run) == expected
    [noted] = Queries(catalog).orphans(settled=True)
    assert (noted.kind, noted.detail) == ("EVENT_LOST", f"execution {execution['status']}")
    assert noted.settled_at is not None
    assert look(missed, catalog) == []


def test_a_redrive_whose_event_was_lost_shows_as_running_and_then_how_it_ended(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable
) -> None:
    put(step_functions, run.placed, "ABORTED")
    look(missed, catalog)
    put(step_functions, run.placed, "RUNNING", redrive_count=1)
    assert look(missed, catalog) == [(run.placed.association, "RUNNING")]
    put(step_functions, run.placed, "TIMED_OUT", redrive_count=1)
    assert look(missed, catalog) == [(run.placed.association, "TIMED_OUT")]
    assert status_of(catalog, run) == ("TIMED_OUT", "States.Timeout", 1)


def test_an_execution_that_ended_before_it_registered_gets_its_row(
    catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable, placer: Placer
) -> None:
    first, second = placer.place(), placer.place()
    put(step_functions, first, "FAILED", error="Catalog.Unavailable")
    assert look(missed, catalog) == [(first.association, "FAILED")]
    row = Queries(catalog).association(first.association)
    assert row is not None
    assert (row.status, row.error) == ("FAILED", "Catalog.Unavailable")
    assert look(missed, catalog) == []
    put(step_functions, second, "TIMED_OUT", stopped_at=(NOW - timedelta(seconds=5)).timestamp())
    assert look(missed, catalog) == [], "its event may be on its way"
    assert look(missed, catalog, NOW + EVENT_WITHIN) == [(second.association, "TIMED_OUT")]


def test_an_execution_by_hand_that_is_of_no_association_is_asked_for_once_and_keeps_no_other_from_being_followed(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_hand = step_functions.put("by-hand", '{"hello": "world"}', status="FAILED")
    put(step_functions, run.placed, "ABORTED")
    assert look(missed, catalog) == [(run.placed.association, "ABORTED")]
    put(step_functions, run.placed)
    real = executions().describe

    def describe(arn: str) -> object:
        assert arn != by_hand
        return real(arn)

    monkeypatch.setattr(executions(), "describe", describe)
    look(missed, catalog)


def test_an_end_of_this_moment_is_left_to_its_event_and_looked_at_again(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable
) -> None:
    just_now = (NOW - EVENT_WITHIN + timedelta(seconds=1)).timestamp()
    put(step_functions, run.placed, "ABORTED", stopped_at=just_now)
    assert look(missed, catalog) == []
    put(step_functions, run.placed, "ABORTED", stopped_at=just_now - 1)
    assert look(missed, catalog) == [(run.placed.association, "ABORTED")]


def test_a_catalog_is_asked_only_while_something_runs_and_once_after(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    placer: Placer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    real = catalog.transaction

    def transaction(work: Any) -> Any:
        asked.append(work)
        return real(work)

    monkeypatch.setattr(catalog, "transaction", transaction)

    def asks() -> bool:
        asked.clear()
        look(missed, catalog)
        return bool(asked)

    put(step_functions, run.placed)
    assert [asks(), asks()] == [True, True]
    put(step_functions, run.placed, "SUCCEEDED")
    assert [asks(), asks(), asks()] == [True, False, False]
    put(step_functions, placer.place(), "FAILED")  # began and ended between two looks
    assert [asks(), asks()] == [True, False]
    put(step_functions, run.placed, redrive_count=1)
    assert asks()


def test_a_look_that_failed_is_made_again(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert look(missed, catalog) == [], "nothing runs, and nothing has"
    put(step_functions, run.placed, "ABORTED")

    def away(work: object) -> None:
        raise errors.CatalogUnavailableError("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "transaction", away)
        with pytest.raises(errors.CatalogUnavailableError):
            look(missed, catalog)
    assert look(missed, catalog) == [(run.placed.association, "ABORTED")]


def test_what_step_functions_does_not_know_is_left_to_the_sweep_and_keeps_nobody_awake(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(missed, catalog) == []
    assert status_of(catalog, run)[0] == "RUNNING"
    monkeypatch.setattr(catalog, "transaction", None)
    assert look(missed, catalog) == []


def test_executions_that_run_are_read_from_one_list_and_not_asked_for_one_by_one(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(step_functions, run.placed)
    monkeypatch.setattr(executions(), "describe", None)
    assert look(missed, catalog) == []
    assert executions().running(MACHINE) == {execution_arn(run.placed.association)}


def test_the_function_looks_through_its_minute_while_something_runs_and_once_while_nothing_does(
    run: Run, step_functions: StepFunctionsTable, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(step_functions, run.placed)
    assert watch_executions.handler({}, CONTEXT) == {"followed": 0}
    assert pauses == [10] * 5
    monkeypatch.setattr("time.sleep", lambda _: put(step_functions, run.placed, "ABORTED"))
    assert watch_executions.handler({}, CONTEXT) == {"followed": 1}
    monkeypatch.setattr("time.sleep", None)
    assert watch_executions.handler({}, CONTEXT) == {"followed": 0}


def test_the_function_tells_of_a_lost_end_as_of_one_that_came(
    run: Run, step_functions: StepFunctionsTable, pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    put(step_functions, run.placed, "TIMED_OUT")
    capsys.readouterr()
    assert watch_executions.handler({}, CONTEXT) == {"followed": 1}
    written = capsys.readouterr().out
    assert '"AssociationsFailed":[1.0]' in written
    assert '"OrphansSettled":[1.0]' in written
    assert pauses == []
    assert watch_executions.handler({}, CONTEXT) == {"followed": 0}


def test_a_redrive_that_began_and_ended_between_two_looks_without_an_event_is_told(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable
) -> None:
    put(step_functions, run.placed, "FAILED", error="Catalog.Unavailable")
    assert look(missed, catalog) == [(run.placed.association, "FAILED")]
    later = NOW + timedelta(minutes=1)
    ended_at = (later - EVENT_WITHIN).timestamp()
    put(step_functions, run.placed, "FAILED", error="Storage.NotFound", redrive_count=1, stopped_at=ended_at)
    assert look(missed, catalog, later) == [(run.placed.association, "FAILED")]
    assert status_of(catalog, run) == ("FAILED", "Storage.NotFound", 1)


@pytest.fixture
def incomplete(run: Run, step_functions: StepFunctionsTable) -> str:
    """The ARN of an execution that ended long ago with a verdict, which it wrote itself, and whose event has not come."""
    with pytest.raises(errors.LedgerMismatchError):
        run.reconcile()
    return put(step_functions, run.placed, "FAILED", error="Ingest.LedgerMismatch")


def counted(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ends that were counted since."""
    written = capsys.readouterr().out
    names = ("AssociationsComplete", "AssociationsIncomplete", "AssociationsMismatched", "AssociationsFailed")
    return [name for name in names for _ in range(written.count(f'"{name}":[1.0]'))]


@pytest.mark.parametrize(
    ("failed", "without_result", "status", "error", "metric"),
    [
        (0, 0, "COMPLETE", "", "AssociationsComplete"),
        (1, 0, "INCOMPLETE", "Ingest.Incomplete", "AssociationsIncomplete"),
        (0, 1, "LEDGER_MISMATCH", "Ingest.LedgerMismatch", "AssociationsMismatched"),
    ],
)
def test_a_verdict_whose_event_was_lost_is_told_and_counted_once(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    pauses: list[float],
    told: Callable[[], list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
    failed: int,
    without_result: int,
    status: str,
    error: str,
    metric: str,
) -> None:
    outputs = run.imported()
    for number in range(failed + without_result):
        taken = outputs.success.pop()["inputFile"]
        if number < failed:
            outputs.fail(taken)
    with pytest.raises(errors.IngestError) if error else nullcontext():
        run.all(outputs)
    assert status_of(catalog, run)[:2] == (status, error or None), "the execution wrote its verdict itself"
    put(step_functions, run.placed, "FAILED" if error else "SUCCEEDED", error=error)
    capsys.readouterr()
    assert watch_executions.handler({}, CONTEXT) == {"followed": 1}
    assert counted(capsys) == [metric]
    expected = [(run.placed.association, status, error)] if error else []
    assert [(one["association"], one["status"], one["error"]) for one in told()] == expected
    assert [row.kind for row in Queries(catalog).orphans(settled=True)] == ["EVENT_LOST"]
    missed.quiet = False
    assert watch_executions.handler({}, CONTEXT) == {"followed": 0}
    assert (counted(capsys), pauses) == ([], [])


def test_a_verdict_of_this_moment_is_left_to_its_event_and_what_the_event_told_is_not_told_again(
    *,
    incomplete: str,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step_functions.executions[incomplete]["stopDate"] = (NOW - timedelta(seconds=1)).timestamp()
    assert look(missed, catalog) == []
    capsys.readouterr()
    for _ in range(2):  # EventBridge delivers at least once
        follow_execution.handler({"detail": {"executionArn": incomplete}}, CONTEXT)
    assert counted(capsys) == ["AssociationsMismatched"]
    assert look(missed, catalog, NOW + 2 * EVENT_WITHIN) == []
    assert counted(capsys) == []


def test_an_end_that_was_followed_and_could_not_be_told_is_told_by_the_next_look(
    *,
    run: Run,
    catalog: Catalog,
    missed: MissedEvents,
    step_functions: StepFunctionsTable,
    told: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arn = put(step_functions, run.placed, "ABORTED")

    def away(*_: object) -> None:
        raise errors.StorageUnavailableError("sns:Publish: it is away")

    with monkeypatch.context() as patch:
        patch.setattr("lambdas.adapters.aws.Topic.publish", away)
        with pytest.raises(errors.StorageUnavailableError):
            follow_execution.handler({"detail": {"executionArn": arn}}, CONTEXT)
        with pytest.raises(errors.StorageUnavailableError):
            look(missed, catalog)
    assert told() == []
    assert look(missed, catalog) == [(run.placed.association, "ABORTED")]
    assert [one["status"] for one in told()] == ["ABORTED"]


def test_an_end_that_a_dead_letter_told_to_the_catalog_alone_is_told_to_people(
    run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = put(step_functions, run.placed, "TIMED_OUT")
    follow(catalog, executions(), arn)  # as `ahi-ingest queues --redrive` does
    capsys.readouterr()
    assert look(missed, catalog) == [(run.placed.association, "TIMED_OUT")]
    assert counted(capsys) == ["AssociationsFailed"]


def test_an_end_that_step_functions_has_forgotten_is_told_by_its_row(
    incomplete: str, run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable
) -> None:
    step_functions.executions.clear()
    assert look(missed, catalog) == [(run.placed.association, "LEDGER_MISMATCH")]
    missed.quiet = False
    assert look(missed, catalog) == []
    assert execution_arn(run.placed.association) == incomplete


def test_a_redrive_that_ends_as_before_is_told_again(
    incomplete: str, run: Run, catalog: Catalog, missed: MissedEvents, step_functions: StepFunctionsTable
) -> None:
    assert look(missed, catalog) == [(run.placed.association, "LEDGER_MISMATCH")]
    put(step_functions, run.placed, "RUNNING", redrive_count=1)
    with pytest.raises(errors.LedgerMismatchError):
        run.reconcile()
    assert step_functions.executions[incomplete]["status"] == "RUNNING"
    assert look(missed, catalog) == [(run.placed.association, "RUNNING")]
    put(step_functions, run.placed, "FAILED", error="Ingest.LedgerMismatch", redrive_count=1)
    assert look(missed, catalog) == [(run.placed.association, "LEDGER_MISMATCH")]
    assert status_of(catalog, run) == ("LEDGER_MISMATCH", "Ingest.LedgerMismatch", 1)
