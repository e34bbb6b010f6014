"""How long an association took is measured when it is complete, and only then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lambdas import errors
from lambdas.catalog import ledger
from lambdas.handlers.metrics import Metric
from tests.support.dicom import ct_series
from tests.support.lambdas import Run

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


def measured(capsys: pytest.CaptureFixture[str]) -> list[float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line[Metric.SECONDS_TO_IMAGE_SETS][0] for line in lines if Metric.SECONDS_TO_IMAGE_SETS in line]


def test_a_complete_association_is_measured_from_its_last_object_and_an_incomplete_one_is_not(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 2)]))
    outputs = run.imported()
    refused = outputs.success.pop()["inputFile"]
    outputs.fail(refused, message="no")
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    assert measured(capsys) == []
    seconds_ago = 90
    catalog.transaction(
        lambda cursor: cursor.execute(
            "UPDATE stored_object SET import_status = 'IMPORTED', received_at = UTC_TIMESTAMP(3) - INTERVAL %s SECOND",
            (seconds_ago,),
        )
    )
    run.reconcile()
    (seconds,) = measured(capsys)
    assert seconds_ago <= seconds < seconds_ago + 60


def test_an_edge_whose_clock_is_ahead_is_measured_as_zero(aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path) -> None:
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 1)]))
    run.all(run.imported())
    catalog.transaction(
        lambda cursor: cursor.execute("UPDATE stored_object SET received_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR")
    )
    association = run.placed.association
    assert catalog.transaction(lambda cursor: ledger.seconds_since_last_received(cursor, association)) == 0
    assert catalog.transaction(lambda cursor: ledger.seconds_since_last_received(cursor, "unknown")) is None
