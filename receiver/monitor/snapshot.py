"""How the receiver is at a moment, and whether that is good."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contract.strict import utc_now
from receiver.commitment.requests import OpenRequest
from receiver.counters import Report
from receiver.monitor.commitments import open_commitments
from receiver.settings import Settings
from receiver.spool.view import SpooledAssociation, SpoolState, SpoolView

_DISK_FAILED_SECONDS = 60
"""A disk that failed is tried again by senders that come all the same, and is trusted again after this."""

_UPLOAD_LAG_WARNING_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The receiver at `at`."""

    at: datetime
    report: Report
    associations: list[SpooledAssociation]
    disk_free_bytes: int
    commitments: list[OpenRequest]
    """Storage commitment requests whose peers were not told yet."""
    workers_wanted: int
    disk_reserve_bytes: int
    disk_low_bytes: int

    @property
    def spool_objects(self) -> int:
        return sum(one.objects for one in self.associations)

    @property
    def spool_bytes(self) -> int:
        return sum(one.size_bytes for one in self.associations)

    @property
    def spool_oldest_seconds(self) -> float:
        """Age of the oldest object in the spool, 0 when there is none."""
        oldest = min((one.oldest_at for one in self.associations if one.oldest_at), default=self.at)
        return max(0.0, (self.at - oldest).total_seconds())

    def count(self, state: SpoolState) -> int:
        """How many associations are so far."""
        return sum(one.state is state for one in self.associations)

    @property
    def reasons(self) -> list[str]:
        """Why senders should go elsewhere, or wait. Empty: the receiver is ready."""
        reasons = []
        if self.report.workers == 0:
            reasons.append("no process accepts associations: the receiver is starting, draining, or cannot keep a worker up")
        if self.disk_free_bytes < self.disk_reserve_bytes:
            reasons.append("the spool's disk is below AHI_INGEST_DISK_RESERVE_BYTES: objects are answered 0xA700")
        if self.at.timestamp() - self.report.disk_failed_at < _DISK_FAILED_SECONDS:
            reasons.append(f"the spool's disk failed to take an object within the last {_DISK_FAILED_SECONDS} s")
        return reasons

    @property
    def warnings(self) -> list[str]:
        """What someone should look at, though objects are received."""
        warnings = []
        if 0 < self.report.workers < self.workers_wanted:
            warnings.append(f"{self.workers_wanted - self.report.workers} of {self.workers_wanted} workers are being replaced")
        if self.disk_reserve_bytes <= self.disk_free_bytes < self.disk_low_bytes:
            warnings.append("the spool's disk is below AHI_INGEST_DISK_LOW_BYTES: senders are slowed")
        if self.report.cloud_refusal:
            warnings.append(f"AWS refuses uploads; objects are kept: {self.report.cloud_refusal}")
        if self.report.upload_lag_seconds > _UPLOAD_LAG_WARNING_SECONDS:
            warnings.append(f"an object waits for its upload since {self.report.upload_lag_seconds:.0f} s")
        return warnings


class Observer:
    """Takes snapshots, by turns when several ask."""

    def __init__(
        self, settings: Settings, view: SpoolView, report: Callable[[], Report], now: Callable[[], datetime] = utc_now
    ) -> None:
        self._settings, self._view, self._report, self._now = settings, view, report, now
        self._lock = threading.Lock()

    def snapshot(self) -> Snapshot:
        """Raises OSError."""
        with self._lock:
            return Snapshot(
                at=self._now(),
                report=self._report(),
                associations=self._view.associations(),
                commitments=open_commitments(self._settings.spool),
                disk_free_bytes=shutil.disk_usage(self._settings.spool).free,
                workers_wanted=self._settings.workers,
                disk_reserve_bytes=self._settings.disk_reserve_bytes,
                disk_low_bytes=self._settings.disk_low_bytes,
            )
