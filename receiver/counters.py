"""What a receiver counts, for /metrics and the status report.

Counting costs the sender nothing to speak of: an association adds to integers of its own, which no lock guards and no other
thread writes, and they are summed up once a second. Labels are bounded: AE titles come from the network.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

AE_TITLES_MAX = 100
OTHER = "(others)"
"""Stands for the AE titles beyond the first AE_TITLES_MAX."""

ANNOUNCE_BUCKETS_SECONDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, float("inf"))
"""Upper bounds, for the time from an association's last object to its message."""


class Labels:
    """The AE titles that are counted by name: the first AE_TITLES_MAX that are seen."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, ae_title: str) -> str:
        if ae_title in self._known:
            return ae_title
        if len(self._known) < AE_TITLES_MAX:
            self._known.add(ae_title)
            return ae_title
        return OTHER


@dataclass(kw_only=True)
class Report:
    """What one process, or all of a receiver, has counted since its start, and what it holds now.

    A worker sends it to its supervisor as JSON. Times are Unix times in seconds, 0 for never.
    """

    objects: Counter[str] = field(default_factory=Counter)
    """Acknowledged, by calling AE title."""
    object_bytes: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    """Associations, by `<ending> <calling AE title>`."""
    refused: Counter[str] = field(default_factory=Counter)
    """Objects, by C-STORE status."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Associations, by result/source/reason."""
    announced: int = 0
    quarantined: int = 0
    """Objects, of associations that were announced."""
    unchecked: int = 0
    """Objects of these that could not be checked in full: an unknown transfer syntax, or beyond the walk's bounds."""
    announce_buckets: list[int] = field(default_factory=lambda: [0] * len(ANNOUNCE_BUCKETS_SECONDS))
    announce_seconds: float = 0.0
    last_object_at: dict[str, float] = field(default_factory=dict)
    """By calling AE title."""
    disk_failed_at: float = 0.0

    workers: int = 0
    """Processes that accept associations."""
    receiving: int = 0
    """Associations that are open."""
    uploading: int = 0
    """Associations that are not announced yet, the open ones too."""
    upload_lag_seconds: float = 0.0
    """Age of the oldest object that is not in S3."""
    cloud_refusal: str = ""
    """What AWS refuses for good, until an upload succeeds again."""

    def to_json(self) -> dict[str, Any]:
        return vars(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        report = cls(**values)
        for each in fields(cls):
            if each.default_factory is Counter:
                setattr(report, each.name, Counter(getattr(report, each.name)))
        return report

    def counted(self) -> Report:
        """What stays counted when the process is dead."""
        values = vars(self) | {"workers": 0, "receiving": 0, "uploading": 0, "upload_lag_seconds": 0.0, "cloud_refusal": ""}
        return Report(**values)

    def labelled(self, labels: Labels) -> Report:
        """With the AE titles of `labels`, so that the union of several processes is bounded too."""

        def by_ae(counts: Counter[str]) -> Counter[str]:
            found: Counter[str] = Counter()
            for ae_title, count in counts.items():
                found[labels.of(ae_title)] += count
            return found

        ended: Counter[str] = Counter()
        for key, count in self.ended.items():
            ending, _, ae_title = key.partition(" ")
            ended[f"{ending} {labels.of(ae_title)}"] += count
        last: dict[str, float] = {}
        for ae_title, at in self.last_object_at.items():
            label = labels.of(ae_title)
            last[label] = max(at, last.get(label, 0.0))
        values = vars(self) | {
            "objects": by_ae(self.objects),
            "object_bytes": by_ae(self.object_bytes),
            "ended": ended,
            "last_object_at": last,
        }
        return Report(**values)


def total(reports: Iterable[Report]) -> Report:
    """One report of several processes."""
    result = Report()
    for one in reports:
        for name in ("objects", "object_bytes", "ended", "refused", "rejected"):
            getattr(result, name).update(getattr(one, name))
        for name in ("announced", "quarantined", "unchecked", "announce_seconds", "workers", "receiving", "uploading"):
            setattr(result, name, getattr(result, name) + getattr(one, name))
        for name in ("disk_failed_at", "upload_lag_seconds", "cloud_refusal"):
            setattr(result, name, max(getattr(result, name), getattr(one, name)))
        result.announce_buckets = [a + b for a, b in zip(result.announce_buckets, one.announce_buckets, strict=True)]
        for ae_title, at in one.last_object_at.items():
            result.last_object_at[ae_title] = max(at, result.last_object_at.get(ae_title, 0.0))
    return result


class Tally:
    """What one association counts. Written by its thread alone."""

    __slots__ = ("calling_ae", "last_object_at", "object_bytes", "objects", "refused")

    def __init__(self, calling_ae: str) -> None:
        self.calling_ae = calling_ae
        self.objects = self.object_bytes = 0
        self.last_object_at: datetime | None = None
        self.refused: Counter[str] = Counter()


class Counters:
    """What one process counts. Safe to use from several threads."""

    def __init__(self) -> None:
        self._labels = Labels()
        self._ended = Report()
        self._tallies: set[Tally] = set()
        self._lock = threading.Lock()

    def association_began(self, calling_ae: str) -> Tally:
        tally = Tally(self._labels.of(calling_ae))
        with self._lock:
            self._tallies.add(tally)
        return tally

    def association_ended(self, tally: Tally, ending: str) -> None:
        with self._lock:
            self._tallies.discard(tally)
            self._add(self._ended, tally)
            self._ended.ended[f"{ending} {tally.calling_ae}"] += 1

    def association_rejected(self, result_source_reason: str) -> None:
        with self._lock:
            self._ended.rejected[result_source_reason] += 1

    def association_announced(self, *, quarantined: int, unchecked: int, seconds: float) -> None:
        """`seconds` after its last object."""
        with self._lock:
            self._ended.announced += 1
            self._ended.quarantined += quarantined
            self._ended.unchecked += unchecked
            self._ended.announce_seconds += seconds
            self._ended.announce_buckets[bisect_left(ANNOUNCE_BUCKETS_SECONDS, seconds)] += 1

    def disk_failed(self, at: datetime) -> None:
        with self._lock:
            self._ended.disk_failed_at = at.timestamp()

    def report(self) -> Report:
        """All until now; what the process holds now is not known here."""
        with self._lock:
            report = total([self._ended])
            for tally in self._tallies:
                self._add(report, tally)
            report.receiving = len(self._tallies)
        return report

    @staticmethod
    def _add(report: Report, tally: Tally) -> None:
        if tally.objects:
            report.objects[tally.calling_ae] += tally.objects
            report.object_bytes[tally.calling_ae] += tally.object_bytes
        report.refused.update(tally.refused.copy())
        if tally.last_object_at is not None:
            at = tally.last_object_at.timestamp()
            report.last_object_at[tally.calling_ae] = max(at, report.last_object_at.get(tally.calling_ae, 0.0))
