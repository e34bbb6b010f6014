"""What edges report becomes metrics: since when one is silent, and how far it is behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from contract.keys import status_key
from contract.status import EdgeStatus
from contract.strict import to_json
from lambdas.handlers import environment, watch_edges
from lambdas.logic.watching import watch

if TYPE_CHECKING:
    from local.aws import Aws

pytestmark = pytest.mark.usefixtures("lambdas")


def report(edge: str, *, upload_lag_seconds: int) -> bytes:
    return to_json(
        EdgeStatus(
            edge=edge,
            at=datetime.now(UTC),
            software_version="1",
            ready=True,
            reasons=(),
            warnings=(),
            workers=1,
            connected=0,
            open=0,
            sealed=1,
            associations=(),
            spool_objects=1,
            spool_bytes=1,
            spool_oldest_seconds=upload_lag_seconds,
            upload_lag_seconds=upload_lag_seconds,
            disk_free_bytes=10**10,
            quarantined=0,
            unchecked=0,
            last_objects=(),
            refused=(),
            rejected=(),
            clock_offset_milliseconds=None,
        )
    )


def series(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Edge -> what was written of it in the Embedded Metric Format."""
    written: dict[str, dict[str, Any]] = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            assert sorted(directive["Dimensions"][0]) == ["edge", "service"]
            written[document["edge"]] = {one["Name"]: document[one["Name"]][0] for one in directive["Metrics"]}
    return written


def test_each_edge_that_reports_has_a_series_and_one_that_never_did_has_none(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BUCKET_NAME", bucket)
    monkeypatch.setenv("EDGES", "main-campus,clinic-2,clinic-3")
    aws.s3.put_object(Bucket=bucket, Key=status_key("main-campus"), Body=report("main-campus", upload_lag_seconds=7200))
    aws.s3.put_object(Bucket=bucket, Key=status_key("clinic-2"), Body=b'{"version": 99}')
    assert watch_edges.handler({}, None) == {"edges": 3, "never_reported": ["clinic-3"]}
    written = series(capsys)
    assert written.keys() == {"main-campus", "clinic-2"}
    assert written["main-campus"].keys() == {"EdgeSilentSeconds", "EdgeUploadLagSeconds", "EdgeDiskFreeBytes"}
    assert written["main-campus"]["EdgeUploadLagSeconds"] == 7200
    assert written["clinic-2"].keys() == {"EdgeSilentSeconds"}  # it reports, in words that nobody here knows yet


def test_an_edge_is_silent_since_it_last_reported(aws: Aws, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key=status_key("clinic-2"), Body=report("clinic-2", upload_lag_seconds=0))
    health = watch(environment.storage(), bucket, "clinic-2", datetime.now(UTC) + timedelta(hours=1))
    assert health is not None
    assert 3600 - 60 <= health.silent_seconds <= 3600 + 60
