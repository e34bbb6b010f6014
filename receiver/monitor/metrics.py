"""A snapshot as Prometheus reads it. Names end in their unit; AE titles are the only labels from the network, and bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from receiver.counters import ANNOUNCE_BUCKETS_SECONDS
from receiver.monitor.snapshot import Snapshot
from receiver.spool.view import SpoolState


def exposition(snapshot: Snapshot) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(lambda: _metrics(snapshot)))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _metrics(snapshot: Snapshot) -> Iterator[Metric]:
    report = snapshot.report
    ended = CounterMetricFamily("ahi_ingest_associations", "Associations that ended, by how.", labels=("ae_title", "ending"))
    for key, count in sorted(report.ended.items()):
        ending, _, ae_title = key.partition(" ")
        ended.add_metric((ae_title, ending), count)
    yield ended
    yield _counter("objects", "Objects that were acknowledged.", "ae_title", report.objects)
    yield _counter("object_bytes", "Bytes of objects that were acknowledged.", "ae_title", report.object_bytes)
    yield _counter("objects_refused", "Objects that were refused, by C-STORE status.", "status", report.refused)
    yield _counter(
        "associations_rejected", "Associations rejected, by result/source/reason.", "result_source_reason", report.rejected
    )
    yield CounterMetricFamily("ahi_ingest_associations_announced", "Associations in S3 and in SQS.", value=report.announced)
    yield CounterMetricFamily("ahi_ingest_objects_quarantined", "Objects announced as quarantined.", value=report.quarantined)
    yield CounterMetricFamily(
        "ahi_ingest_objects_unchecked", "Objects announced that could not be checked in full.", value=report.unchecked
    )
    announce = HistogramMetricFamily("ahi_ingest_announce_seconds", "From an association's last object to its message.")
    bounds = ["+Inf" if bound == float("inf") else str(bound) for bound in ANNOUNCE_BUCKETS_SECONDS]
    announce.add_metric((), list(zip(bounds, accumulate(report.announce_buckets), strict=True)), report.announce_seconds)
    yield announce
    last = GaugeMetricFamily(
        "ahi_ingest_last_object_timestamp_seconds", "When an AE title last sent an object, Unix time.", labels=("ae_title",)
    )
    for ae_title, at in sorted(report.last_object_at.items()):
        last.add_metric((ae_title,), at)
    yield last
    states = GaugeMetricFamily("ahi_ingest_spool_associations", "Associations in the spool, by state.", labels=("state",))
    for state in SpoolState:
        states.add_metric((state,), snapshot.count(state))
    yield states
    yield _gauge("associations_connected", "Associations that are established.", report.receiving)
    yield _gauge("spool_objects", "Objects in the spool.", snapshot.spool_objects)
    yield _gauge("spool_bytes", "Bytes of objects in the spool.", snapshot.spool_bytes)
    yield _gauge("spool_oldest_seconds", "Age of the oldest object in the spool.", snapshot.spool_oldest_seconds)
    yield _gauge("upload_lag_seconds", "Age of the oldest object that is not in S3.", report.upload_lag_seconds)
    oldest = min((one.requested_at for one in snapshot.commitments), default=snapshot.at.timestamp())
    yield _gauge("commitments_open", "Storage commitment requests whose peers wait for the result.", len(snapshot.commitments))
    yield _gauge("commitments_oldest_seconds", "Age of the oldest of them.", max(0.0, snapshot.at.timestamp() - oldest))
    yield _gauge("disk_free_bytes", "Free space of the spool's disk.", snapshot.disk_free_bytes)
    yield _gauge("workers", "Processes that accept associations.", report.workers)
    yield _gauge("workers_wanted", "Processes that should.", snapshot.workers_wanted)
    yield _gauge("ready", "1 when /readyz is 200.", int(not snapshot.reasons))
    yield _gauge("cloud_refuses", "1 while AWS refuses uploads for good.", int(bool(report.cloud_refusal)))


def _counter(name: str, about: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(f"ahi_ingest_{name}", about, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ahi_ingest_{name}", about, value=value)
