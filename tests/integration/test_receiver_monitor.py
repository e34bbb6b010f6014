"""A receiver of several processes as its operators see it: one set of figures, whichever worker did the work."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from contract.keys import status_key
from contract.status import EdgeStatus
from contract.strict import from_json
from local.aws import Aws
from tests.support.processes import worker_pids
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, small_data_set, until


def metrics_of(edge: EdgeProcess) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{edge.health_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_what_workers_count_is_added_up_and_outlives_them(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=2) as edge:
        contexts = {1: (CT, (EXPLICIT,)), 3: (CT, (b"1.2.3.4.5",))}  # the latter a transfer syntax that nobody knows
        peers = [RawPeer(edge.port, contexts, calling_ae=b"CT_1") for _ in range(4)]
        for number, peer in enumerate(peers):
            assert peer.store(b"1.%d" % number, small_data_set(), context_id=3 if number == 3 else 1) == 0

        def count(*name: str) -> float:
            return metrics_of(edge).get(name, 0)

        until(lambda: count("ahi_ingest_objects_total", "CT_1") == 4, "the objects of open associations are counted")
        assert count("ahi_ingest_associations_connected") == 4
        assert count("ahi_ingest_workers") == 2
        for peer in peers:
            peer.release()
        edge.announced(4)
        until(lambda: count("ahi_ingest_associations_announced_total") == 4, "announcements are counted", within_seconds=20)
        victims = worker_pids(edge)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        until(lambda: count("ahi_ingest_workers") == 2 and not worker_pids(edge) & victims, "replaced", within_seconds=30)
        assert count("ahi_ingest_associations_total", "CT_1", "released") == 4
        assert count("ahi_ingest_objects_total", "CT_1") == 4
        assert count("ahi_ingest_announce_seconds_count") == 4
        assert count("ahi_ingest_objects_unchecked_total") == 1
        assert edge.keys("status/") == {status_key("edge-1")}
        status = from_json(EdgeStatus, edge.content(status_key("edge-1")))
    assert (status.edge, status.open, status.associations) == ("edge-1", 0, ())
