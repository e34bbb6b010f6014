"""What is counted, over associations, processes and their deaths; and that peers cannot make it grow."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from receiver.counters import AE_TITLES_MAX, ANNOUNCE_BUCKETS_SECONDS, OTHER, Counters, Labels, Report, total

NOW = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)


def counted(*objects: int, calling_ae: str = "CT") -> Counters:
    counters = Counters()
    for count in objects:
        tally = counters.association_began(calling_ae)
        tally.objects, tally.object_bytes, tally.last_object_at = count, count * 10, NOW
        counters.association_ended(tally, "released")
    return counters


def test_an_association_is_counted_while_it_lasts_and_once_when_it_ended() -> None:
    counters = counted(3)
    tally = counters.association_began("CT")
    tally.objects, tally.object_bytes, tally.last_object_at = 2, 20, NOW + timedelta(seconds=1)
    tally.refused["0xA700"] += 1
    open_ = counters.report()
    assert (open_.objects["CT"], open_.object_bytes["CT"], open_.receiving) == (5, 50, 1)
    counters.association_ended(tally, "aborted")
    ended = counters.report()
    assert (ended.objects, ended.refused, ended.receiving) == ({"CT": 5}, {"0xA700": 1}, 0)
    assert ended.ended == {"released CT": 1, "aborted CT": 1}
    assert ended.last_object_at == {"CT": (NOW + timedelta(seconds=1)).timestamp()}


def test_ae_titles_that_peers_make_up_are_counted_together_in_each_process_and_in_all() -> None:
    reports = []
    for process in range(3):
        counters = Counters()
        for number in range(AE_TITLES_MAX + 20):
            tally = counters.association_began(f"AE{process}-{number}")
            tally.objects = 1
            counters.association_ended(tally, "released")
        reports.append(counters.report())
    labels = Labels()
    for _ in range(2):  # a title keeps its label, so that no counter ever goes down
        report = total(one.labelled(labels) for one in reports)
        assert len(report.objects) == len(report.ended) == AE_TITLES_MAX + 1
        assert report.objects.total() == 3 * (AE_TITLES_MAX + 20)
        assert report.objects[OTHER] == 3 * (AE_TITLES_MAX + 20) - AE_TITLES_MAX


def test_a_report_survives_json() -> None:
    counters = counted(1, 2)
    counters.association_rejected("2/3/1")
    counters.association_announced(quarantined=1, unchecked=2, seconds=0.4)
    report = counters.report()
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_what_a_dead_process_counted_stays_and_what_it_held_does_not() -> None:
    report = counted(4).report()
    report.workers, report.uploading, report.upload_lag_seconds, report.cloud_refusal = 1, 3, 9.0, "AccessDenied"
    dead = report.counted()
    assert dead.objects == {"CT": 4}
    assert (dead.workers, dead.uploading, dead.upload_lag_seconds, dead.cloud_refusal) == (0, 0, 0.0, "")


def test_the_time_to_announce_falls_into_its_bucket() -> None:
    counters = Counters()
    for seconds in (0.25, 0.26, 10_000):
        counters.association_announced(quarantined=0, unchecked=0, seconds=seconds)
    buckets = dict(zip(ANNOUNCE_BUCKETS_SECONDS, counters.report().announce_buckets, strict=True))
    assert (buckets[0.25], buckets[0.5], buckets[float("inf")], sum(buckets.values())) == (1, 1, 1, 3)
