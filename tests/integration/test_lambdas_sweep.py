"""The sweep: what is astray is found by kind, put right where that is safe, and listed until it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from console import render
from lambdas import errors
from lambdas.adapters.aws import Executions, Storage
from lambdas.catalog.queries import Queries
from lambdas.handlers import follow_execution, sweep
from lambdas.handlers.environment import executions, storage
from lambdas.logic.sweeping import Sweep
from tests.support.catalog import rows
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, Run
from tests.support.stepfunctions import MACHINE, execution_arn

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import PlacedAssociation, Placer
    from tests.support.stepfunctions import StepFunctionsTable

pytestmark = pytest.mark.usefixtures("lambdas")

HOUR = timedelta(hours=1)
# Ids of tests begin with this time (tests.support.associations.RECEIVED_AT); S3's own times are those of the test's run.
ID_TIME = "20261124T021501Z"


@pytest.fixture
def placed(placer: Placer, tmp_path: Path) -> PlacedAssociation:
    return placer.place([path.read_bytes() for path in ct_series(tmp_path, 1)])


def found(catalog: Catalog, bucket: str, *, after: timedelta = HOUR) -> list[tuple[str, str, str, bool]]:
    """What a sweep finds so long after now: kind, association, detail, and whether it is settled."""
    now = datetime.now(UTC) + after
    made = Sweep(catalog=catalog, storage=storage(), executions=executions(), bucket=bucket, state_machine_arn=MACHINE, now=now)
    return [(str(one.kind), one.association, one.detail, one.settled) for one in made.run()]


def test_a_manifest_whose_message_was_lost_gets_its_execution(
    catalog: Catalog, bucket: str, placed: PlacedAssociation, step_functions: StepFunctionsTable
) -> None:
    assert found(catalog, bucket, after=timedelta()) == [], "its message may be on its way"
    assert found(catalog, bucket) == [("MANIFEST_WITHOUT_EXECUTION", placed.association, "no execution", True)]
    [execution] = step_functions.executions.values()
    assert execution["name"] == placed.association
    document = json.loads(execution["input"])
    sent_at = datetime.fromtimestamp(document.pop("sent_at_ms") / 1000, UTC)
    assert abs(sent_at - datetime.now(UTC)) < HOUR, "when the manifest was written"
    assert document == json.loads(placed.message)
    assert found(catalog, bucket) == [], "it runs"


def test_an_execution_that_ended_before_it_registered_gets_its_row_though_its_event_was_lost(
    catalog: Catalog, bucket: str, placed: PlacedAssociation, step_functions: StepFunctionsTable
) -> None:
    document = json.dumps(placed.document)
    step_functions.put(placed.association, document, status="FAILED", error="Storage.Refused")
    assert found(catalog, bucket) == [("MANIFEST_WITHOUT_EXECUTION", placed.association, "execution FAILED", True)]
    row = Queries(catalog).association(placed.association)
    assert row is not None
    assert (row.status, row.error) == ("FAILED", "Storage.Refused")
    assert found(catalog, bucket) == []


@pytest.mark.parametrize(
    ("status", "expected"), [("TIMED_OUT", "TIMED_OUT"), ("ABORTED", "ABORTED"), ("SUCCEEDED", "COMPLETE")]
)
def test_a_row_whose_event_was_lost_says_how_its_execution_ended(
    *,
    aws: Aws,
    catalog: Catalog,
    bucket: str,
    placed: PlacedAssociation,
    step_functions: StepFunctionsTable,
    status: str,
    expected: str,
) -> None:
    Run(aws=aws, placed=placed).register()
    step_functions.put(placed.association, json.dumps(placed.document))
    assert found(catalog, bucket) == [], "it runs"
    step_functions.put(placed.association, json.dumps(placed.document), status=status)
    assert found(catalog, bucket) == [("EVENT_LOST", placed.association, f"execution {status}", True)]
    assert [row["status"] for row in rows(catalog, "association")] == [expected]
    assert found(catalog, bucket) == []


def test_an_execution_that_vanished_is_started_again_with_the_time_that_it_had(
    aws: Aws, catalog: Catalog, bucket: str, placed: PlacedAssociation, step_functions: StepFunctionsTable
) -> None:
    Run(aws=aws, placed=placed).register()
    assert found(catalog, bucket) == [("EXECUTION_VANISHED", placed.association, "no execution", True)]
    [execution] = step_functions.executions.values()
    assert json.loads(execution["input"]) == placed.document


def test_what_vanished_with_its_manifest_and_name_is_left_to_an_operator(
    aws: Aws, catalog: Catalog, bucket: str, placed: PlacedAssociation
) -> None:
    Run(aws=aws, placed=placed).register()
    aws.s3.delete_object(Bucket=bucket, Key=f"manifests/edge-1/{placed.association}/manifest.json")
    for _ in range(2):
        assert found(catalog, bucket) == [("EXECUTION_VANISHED", placed.association, "no execution", False)]


@pytest.mark.parametrize("prefix", ["instances", "quarantine"])
def test_objects_whose_manifest_never_came_are_listed_until_it_does(
    aws: Aws, catalog: Catalog, bucket: str, placer: Placer, prefix: str
) -> None:
    association = f"{ID_TIME}-CT_1-00c0ffee"
    aws.s3.put_object(Bucket=bucket, Key=f"{prefix}/edge-1/{association}/1/a/b/c.dcm", Body=b"x")
    assert found(catalog, bucket) == [], "its edge may still be uploading"
    day = timedelta(hours=25)
    assert found(catalog, bucket, after=day) == [("PREFIX_WITHOUT_MANIFEST", association, "no manifest.json", False)]
    [orphan] = Queries(catalog).orphans()
    console = Console(width=200, record=True)
    render.orphans([orphan], console)
    shown = console.export_text().split()
    assert {association, "edge-1", "PREFIX_WITHOUT_MANIFEST"} <= set(shown)
    assert (orphan.kind, orphan.association, orphan.edge) == ("PREFIX_WITHOUT_MANIFEST", association, "edge-1")
    aws.s3.delete_object(Bucket=bucket, Key=f"{prefix}/edge-1/{association}/1/a/b/c.dcm")
    assert found(catalog, bucket, after=day + HOUR) == []
    assert Queries(catalog).orphans() == []
    assert [one.settled_at is not None for one in Queries(catalog).orphans(settled=True)] == [True]


def test_a_manifest_that_cannot_be_read_keeps_no_other_from_being_looked_at(
    aws: Aws, catalog: Catalog, bucket: str, placer: Placer, placed: PlacedAssociation
) -> None:
    broken = f"{ID_TIME}-CT_0-00000000"
    aws.s3.put_object(Bucket=bucket, Key=f"manifests/edge-1/{broken}/manifest.json", Body=b"{}")
    kinds = {association: (kind, settled) for kind, association, _, settled in found(catalog, bucket)}
    assert kinds == {
        broken: ("UNREADABLE", False),
        placed.association: ("MANIFEST_WITHOUT_EXECUTION", True),
    }


def test_what_is_no_association_and_what_is_too_old_is_not_looked_at(
    aws: Aws, catalog: Catalog, bucket: str, placed: PlacedAssociation
) -> None:
    for key in ("instances/stray.dcm", "instances/Not An Edge/x/y", "instances/edge-1/not-an-id/1/x.dcm"):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert found(catalog, bucket, after=timedelta(days=60)) == []


def test_a_step_functions_that_is_away_is_no_finding(
    *,
    aws: Aws,
    catalog: Catalog,
    bucket: str,
    placed: PlacedAssociation,
    step_functions: StepFunctionsTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Run(aws=aws, placed=placed).register()
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    step_functions.down = True
    with pytest.raises(errors.StorageUnavailableError):
        found(catalog, bucket)
    assert rows(catalog, "orphan") == []


# The functions


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What was written since in the Embedded Metric Format."""
    counted: dict[str, float] = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            assert directive["Namespace"] == "ahi-ingest"
            assert directive["Dimensions"] == [["service"]]
            for metric in directive["Metrics"]:
                counted[metric["Name"]] = counted.get(metric["Name"], 0) + sum(document[metric["Name"]])
    return counted


def test_the_sweep_counts_and_tells_what_it_settled(
    *,
    catalog: Catalog,
    bucket: str,
    aws: Aws,
    placed: PlacedAssociation,
    told: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BUCKET_NAME", bucket)
    monkeypatch.setattr("lambdas.logic.sweeping.EXECUTION_WITHIN", timedelta())
    broken = f"{ID_TIME}-CT_0-00000000"
    aws.s3.put_object(Bucket=bucket, Key=f"manifests/edge-1/{broken}/manifest.json", Body=b"{}")
    monkeypatch.setattr("lambdas.logic.sweeping.LOOK_BACK", timedelta(days=3650))
    capsys.readouterr()
    assert sweep.handler({}, CONTEXT) == {"open": 1, "settled": 1}
    assert metrics(capsys) == {"OrphansOpen": 1, "OrphansSettled": 1}
    settled = {"kind": "MANIFEST_WITHOUT_EXECUTION", "association": placed.association, "detail": "no execution"}
    assert told() == [{"settled": [settled]}]


@pytest.mark.parametrize(
    ("execution", "metric"),
    [
        ({"status": "SUCCEEDED"}, "AssociationsComplete"),
        ({"status": "FAILED", "error": "Ingest.Incomplete"}, "AssociationsIncomplete"),
        ({"status": "FAILED", "error": "Ingest.LedgerMismatch"}, "AssociationsMismatched"),
        ({"status": "FAILED", "error": "States.TaskFailed"}, "AssociationsFailed"),
        ({"status": "TIMED_OUT"}, "AssociationsFailed"),
        ({"status": "ABORTED"}, "AssociationsFailed"),
    ],
)
def test_an_end_is_counted_and_a_bad_one_told(
    *,
    aws: Aws,
    placed: PlacedAssociation,
    step_functions: StepFunctionsTable,
    told: Any,
    capsys: pytest.CaptureFixture[str],
    execution: dict[str, Any],
    metric: str,
) -> None:
    Run(aws=aws, placed=placed).register()
    arn = step_functions.put(placed.association, json.dumps(placed.document), **execution)
    capsys.readouterr()
    follow_execution.handler({"detail": {"executionArn": arn}}, CONTEXT)
    assert metrics(capsys) == {metric: 1}
    messages = told()
    if metric == "AssociationsComplete":
        assert messages == []
    else:
        [message] = messages
        assert (message["association"], message["execution_arn"]) == (placed.association, arn)
        assert message.keys() == {"association", "edge", "status", "error", "execution_arn", "redrive_count"}


def test_a_late_event_after_a_redrive_tells_nobody(
    aws: Aws, placed: PlacedAssociation, step_functions: StepFunctionsTable, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(aws=aws, placed=placed).register()
    arn = step_functions.put(placed.association, json.dumps(placed.document), redrive_count=1)
    capsys.readouterr()
    event = {"detail": {"executionArn": arn, "status": "FAILED"}}
    follow_execution.handler(event, CONTEXT)
    assert (metrics(capsys), told()) == ({}, [])


def test_the_adapters_are_what_the_sweep_needs() -> None:
    assert isinstance(storage(), Storage)
    assert isinstance(executions(), Executions)
    assert execution_arn("x") == f"{MACHINE.replace('stateMachine', 'execution')}:x"
