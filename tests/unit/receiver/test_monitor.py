"""What /readyz, /metrics and the status document say of a receiver."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.status import EdgeStatus
from contract.strict import from_json
from receiver.cloud import CloudUnavailableError
from receiver.counters import Report
from receiver.filesystem import LocalFileSystem
from receiver.monitor.http import HealthServer
from receiver.monitor.metrics import exposition
from receiver.monitor.snapshot import Observer, Snapshot
from receiver.monitor.status import StatusSender
from receiver.spool.view import SpooledAssociation, SpoolState, SpoolView
from tests.support.cloud import FakeCloud
from tests.support.receiver import settings_for

NOW = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)


def association(number: int, state: SpoolState, age_seconds: int) -> SpooledAssociation:
    oldest = NOW - timedelta(seconds=age_seconds)
    return SpooledAssociation(f"a-{number}", Path("/spool"), state, "CT", 2, 2000, oldest, NOW)


def snapshot(**changes: object) -> Snapshot:
    values: dict[str, object] = {
        "at": NOW,
        "report": Report(workers=2),
        "associations": [association(1, SpoolState.SEALED, 90), association(2, SpoolState.OPEN, 10)],
        "disk_free_bytes": 10_000,
        "commitments": [],
        "workers_wanted": 2,
        "disk_reserve_bytes": 1_000,
        "disk_low_bytes": 5_000,
    }
    return Snapshot(**(values | changes))  # type: ignore[arg-type]


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"report": Report(workers=0)}, "no process accepts associations"),
        ({"disk_free_bytes": 999}, "below AHI_INGEST_DISK_RESERVE_BYTES"),
        ({"report": Report(workers=2, disk_failed_at=NOW.timestamp() - 59)}, "disk failed to take an object"),
    ],
)
def test_what_keeps_objects_out_makes_the_receiver_not_ready(changes: dict[str, object], reason: str) -> None:
    (said,) = snapshot(**changes).reasons
    assert reason in said


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"report": Report(workers=1)}, "1 of 2 workers are being replaced"),
        ({"disk_free_bytes": 4_999}, "senders are slowed"),
        ({"report": Report(workers=2, cloud_refusal="PutObject refused: AccessDenied")}, "AccessDenied"),
        ({"report": Report(workers=2, upload_lag_seconds=301)}, "since 301 s"),
        ({"report": Report(workers=2, disk_failed_at=NOW.timestamp() - 61)}, None),
        ({}, None),
    ],
)
def test_what_someone_should_look_at_leaves_the_receiver_ready(changes: dict[str, object], warning: str | None) -> None:
    told = snapshot(**changes)
    assert told.reasons == []
    assert [warning in said for said in told.warnings] == [True] if warning else told.warnings == []


def test_metrics_are_prometheus_own_format_and_count_what_was_counted() -> None:
    report = Report(
        workers=2,
        objects=Counter({'A"\\\n': 3}),
        ended=Counter({'released A"\\\n': 1}),
        refused=Counter({"0xA700": 4}),
        rejected=Counter({"2/3/1": 5}),
        announced=2,
        announce_buckets=[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        announce_seconds=1.2,
    )
    found = samples(exposition(snapshot(report=report)))
    assert found["ahi_ingest_objects_total", 'A"\\\n'] == 3
    assert found["ahi_ingest_associations_total", 'A"\\\n', "released"] == 1
    assert found["ahi_ingest_objects_refused_total", "0xA700"] == 4
    assert found["ahi_ingest_associations_rejected_total", "2/3/1"] == 5
    assert found["ahi_ingest_announce_seconds_bucket", "0.25"] == 1
    assert found["ahi_ingest_announce_seconds_bucket", "+Inf"] == 2
    assert found["ahi_ingest_announce_seconds_count",] == 2
    assert (found["ahi_ingest_spool_objects",], found["ahi_ingest_spool_bytes",]) == (4, 4000)
    assert found["ahi_ingest_spool_oldest_seconds",] == 90
    assert found["ahi_ingest_spool_associations", "sealed"] == 1
    assert found["ahi_ingest_ready",] == 1


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_health_server_answers_by_what_is(tmp_path: Path) -> None:
    report = Report(workers=1)
    (tmp_path / "out").mkdir()
    settings = settings_for(tmp_path, disk_reserve_bytes=0, disk_low_bytes=0)
    server = HealthServer(Observer(settings, SpoolView(tmp_path, LocalFileSystem()), lambda: report), "127.0.0.1", 0)
    server.start()
    try:
        assert get(server.port, "/livez") == (200, b"alive\n")
        assert get(server.port, "/readyz")[0] == 200
        report.workers = 0
        status, body = get(server.port, "/readyz")
        assert (status, json.loads(body)["ready"]) == (503, False)
        assert json.loads(body)["reasons"]
        assert get(server.port, "/metrics")[0] == 200
        assert get(server.port, "/other")[0] == 404
        (tmp_path / "out").rmdir()
        status, body = get(server.port, "/readyz")
        assert (status, "the spool cannot be read" in body.decode()) == (503, True)
    finally:
        server.stop()


def test_a_health_port_that_is_taken_is_named() -> None:
    first = HealthServer(None, "127.0.0.1", 0)  # type: ignore[arg-type]
    first.start()
    with pytest.raises(OSError, match="AHI_INGEST_HEALTH_PORT"):
        HealthServer(None, "127.0.0.1", first.port)  # type: ignore[arg-type]
    first.stop()


class FixedObserver(Observer):
    def __init__(self, fixed: Snapshot) -> None:
        self.fixed = fixed

    def snapshot(self) -> Snapshot:
        return self.fixed


def test_the_status_document_tells_how_the_edge_is_and_how_its_clock_differs() -> None:
    cloud = FakeCloud()
    report = Report(
        workers=2, last_object_at={"CT": NOW.timestamp()}, rejected=Counter({"2/3/1": 5}), quarantined=1, unchecked=3
    )
    now = datetime.now(UTC) - timedelta(minutes=10)
    sender = StatusSender(FixedObserver(snapshot(report=report)), cloud, "edge-1", now=lambda: now)
    sender.send()
    assert from_json(EdgeStatus, cloud.objects["status/edge-1.json"]).clock_offset_milliseconds is None
    sender.send()
    status = from_json(EdgeStatus, cloud.objects["status/edge-1.json"])
    assert abs((status.clock_offset_milliseconds or 0) - 600_000) < 5_000
    assert (status.open, status.sealed, status.spool_bytes, status.spool_oldest_seconds) == (1, 1, 4000, 90)
    assert [(one.calling_ae, one.at) for one in status.last_objects] == [("CT", NOW)]
    assert [(one.code, one.count) for one in status.rejected] == [("2/3/1", 5)]
    assert status.unchecked == 3
    assert (status.quarantined, status.ready, [one.state for one in status.associations]) == (1, True, ["sealed", "open"])


def test_an_outage_of_s3_is_logged_once_and_the_next_report_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    cloud = FakeCloud()
    cloud.failure = CloudUnavailableError("away")
    sender = StatusSender(FixedObserver(snapshot()), cloud, "edge-1")
    for _ in range(3):
        sender.send_logged()
    assert len(caplog.records) == 1
    cloud.failure = None
    sender.send_logged()
    assert "status/edge-1.json" in cloud.objects
