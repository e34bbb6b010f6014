"""Starting executions from SQS, and following how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from contract.strict import ContractError
from lambdas import errors
from lambdas.catalog.queries import Queries
from lambdas.handlers import follow_execution, start_execution
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import PlacedAssociation, Placer
    from tests.support.stepfunctions import StepFunctionsTable

pytestmark = pytest.mark.usefixtures("lambdas")


def _sqs_event(bodies: Sequence[str], sent_timestamp: str = "1790000001000") -> dict[str, Any]:
    """As an event source mapping invokes a function (Lambda Developer Guide, "Using Lambda with Amazon SQS")."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": sent_timestamp,
                    "SenderId": "edge",
                    "ApproximateFirstReceiveTimestamp": "1790000001001",
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:inbound",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def _failures(event: dict[str, Any]) -> list[str]:
    return [item["itemIdentifier"] for item in start_execution.handler(event, CONTEXT)["batchItemFailures"]]


@pytest.fixture
def placed(placer: Placer, tmp_path: Path) -> PlacedAssociation:
    return placer.place([path.read_bytes() for path in ct_series(tmp_path, 1)])


@pytest.fixture
def run(aws: Aws, placed: PlacedAssociation) -> Run:
    return Run(aws=aws, placed=placed)


def _follow(arn: str, status: str = "") -> str | None:
    event = {
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": arn, "status": status},
    }
    answer: str | None = follow_execution.handler(event, CONTEXT)["association"]
    return answer


def _status(catalog: Catalog, placed: PlacedAssociation) -> tuple[str, str | None, int]:
    row = Queries(catalog).association(placed.association)
    assert row is not None
    return row.status, row.error, row.redrive_count


def test_of_five_messages_the_malformed_one_alone_fails(placer: Placer, step_functions: StepFunctionsTable) -> None:
    messages = [placer.place().message.decode() for _ in range(4)]
    assert _failures(_sqs_event([*messages[:2], '{"version": 1}', *messages[2:]])) == ["message-2"]
    assert {one["name"] for one in step_functions.executions.values()} == {one.association for one in placer.placed}


def test_a_batch_of_malformed_messages_alone_is_answered_and_not_raised() -> None:
    assert _failures(_sqs_event(["", "[]"])) == ["message-0", "message-1"]


def test_the_execution_gets_the_message_and_when_sqs_took_it(
    placed: PlacedAssociation, step_functions: StepFunctionsTable
) -> None:
    assert _failures(_sqs_event([placed.message.decode()], "1790000001000")) == []
    [execution] = step_functions.executions.values()
    assert json.loads(execution["input"]) == json.loads(placed.message) | {"sent_at_ms": 1790000001000}


def test_a_message_delivered_three_times_starts_one_execution(
    placed: PlacedAssociation, step_functions: StepFunctionsTable
) -> None:
    message = placed.message.decode()
    assert _failures(_sqs_event([message, message])) == []
    assert _failures(_sqs_event([message], "1790000009000")) == []
    assert len(step_functions.executions) == 1


@pytest.mark.parametrize("sent_timestamp", ["", "yesterday", "-5", "1790000001"])
def test_a_message_without_a_plausible_time_is_refused(placed: PlacedAssociation, sent_timestamp: str) -> None:
    assert _failures(_sqs_event([placed.message.decode()], sent_timestamp)) == ["message-0"]


def test_messages_come_back_while_step_functions_is_away(
    placed: PlacedAssociation, step_functions: StepFunctionsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    step_functions.down = True
    assert _failures(_sqs_event([placed.message.decode()])) == ["message-0"]
    step_functions.down = False
    assert _failures(_sqs_event([placed.message.decode()])) == []


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        ({"status": "FAILED", "error": "States.TaskFailed"}, ("FAILED", "States.TaskFailed", 0)),
        ({"status": "FAILED", "error": "Ingest.Incomplete"}, ("INCOMPLETE", "Ingest.Incomplete", 0)),
        ({"status": "TIMED_OUT"}, ("TIMED_OUT", "States.Timeout", 0)),
        ({"status": "ABORTED"}, ("ABORTED", None, 0)),
        ({"status": "SUCCEEDED"}, ("LEDGER_MISMATCH", "Ingest.LedgerMismatch", 0)),  # of a catalog that lost its rows
    ],
)
def test_the_row_follows_how_the_execution_ended(
    run: Run, catalog: Catalog, step_functions: StepFunctionsTable, execution: dict[str, str], expected: tuple[str, str, int]
) -> None:
    run.register()
    arn = step_functions.put(run.placed.association, json.dumps(run.placed.document), **execution)  # type: ignore[arg-type]
    assert _follow(arn, execution["status"]) == run.placed.association
    assert _status(catalog, run.placed) == expected


def test_a_restored_catalog_that_lost_an_association_shows_it_as_red_until_its_ledger_is_written_again(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    arn = step_functions.put(placed.association, json.dumps(placed.document), status="SUCCEEDED")
    assert _follow(arn, "SUCCEEDED") == placed.association
    assert _status(catalog, placed) == ("LEDGER_MISMATCH", "Ingest.LedgerMismatch", 0)
    restarted = f"{placed.association}.restart-1"
    Run(aws=aws, placed=placed, name=restarted).all()
    arn = step_functions.put(restarted, json.dumps(placed.document), status="SUCCEEDED")
    _follow(arn, "SUCCEEDED")
    assert _status(catalog, placed) == ("COMPLETE", None, 0)


def test_the_association_is_taken_from_the_input_and_not_from_the_name(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    name = "5a1d0a0c-3ab6-4cf0-9c0b-0f3a5a0ad8c6"  # as AWS's console names a new execution
    Run(aws=aws, placed=placed, name=name).register()
    arn = step_functions.put(name, json.dumps(placed.document), status="ABORTED")
    assert _follow(arn) == placed.association
    assert _status(catalog, placed)[0] == "ABORTED"


def test_a_verdict_is_not_overwritten_by_how_the_same_run_ended(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    Run(aws=aws, placed=placed).all()
    arn = step_functions.put(placed.association, json.dumps(placed.document), status="ABORTED")
    _follow(arn)
    step_functions.put(placed.association, json.dumps(placed.document), status="RUNNING")
    _follow(arn)  # an event that came late
    assert _status(catalog, placed) == ("COMPLETE", None, 0)


def test_a_redrive_shows_as_running_and_an_answer_older_than_it_changes_nothing(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    run = Run(aws=aws, placed=placed)
    run.register()
    with pytest.raises(errors.LedgerMismatchError):
        run.reconcile()
    document = json.dumps(placed.document)
    arn = step_functions.put(placed.association, document, status="RUNNING", redrive_count=1)
    _follow(arn)
    assert _status(catalog, placed) == ("RUNNING", None, 1)
    step_functions.put(placed.association, document, status="FAILED", error="States.TaskFailed", redrive_count=0)
    _follow(arn)
    assert _status(catalog, placed) == ("RUNNING", None, 1)
    step_functions.put(placed.association, document, status="FAILED", error="Catalog.Unavailable", redrive_count=1)
    _follow(arn)
    assert _status(catalog, placed) == ("FAILED", "Catalog.Unavailable", 1)
    step_functions.put(placed.association, document, status="RUNNING", redrive_count=1)
    _follow(arn)  # its answer was asked for before the failure, and is written after it
    assert _status(catalog, placed) == ("FAILED", "Catalog.Unavailable", 1)


def test_an_execution_without_the_lease_writes_nothing(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    Run(aws=aws, placed=placed, name="holder").register()
    _follow(step_functions.put(placed.association, json.dumps(placed.document), status="FAILED", error="X"))
    assert _status(catalog, placed) == ("RUNNING", None, 0)


def test_an_execution_that_failed_before_it_registered_is_seen_in_the_catalog(
    aws: Aws, placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    document = json.dumps(placed.document)
    arn = step_functions.put(placed.association, document, status="FAILED", error="Storage.NotFound")
    _follow(arn)
    assert _status(catalog, placed) == ("FAILED", "Storage.NotFound", 0)
    Run(aws=aws, placed=placed).all()  # redriven, it registers after all
    [row] = rows(catalog, "association")
    assert (row["status"], row["calling_ae"], row["parts"]) == ("COMPLETE", "CT_1", 1)


def test_an_execution_that_step_functions_forgot_is_nothing_to_follow(
    placed: PlacedAssociation, catalog: Catalog, step_functions: StepFunctionsTable
) -> None:
    assert _follow("arn:aws:states:us-east-1:000000000000:execution:ingest:gone") is None
    assert rows(catalog, "association") == []


def test_an_execution_with_an_input_that_is_no_announcement_is_refused(step_functions: StepFunctionsTable) -> None:
    arn = step_functions.put("by-hand", '{"hello": "world"}', status="FAILED")
    with pytest.raises(ContractError):
        _follow(arn)
