"""Tells the cloud how the edge is: `status/<edge>.json`, every 30 s. It tries once each time: the next says more."""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from contract.keys import status_key
from contract.status import Count, EdgeStatus, LastObject, SpooledCount
from contract.strict import to_json, utc_now
from receiver.cloud import Cloud, CloudError
from receiver.monitor.snapshot import Observer, Snapshot
from receiver.spool.view import SpoolState

STATUS_EVERY_SECONDS = 30.0
_ASSOCIATIONS_MAX = 100

_log = logging.getLogger(__name__)


def status_of(snapshot: Snapshot, edge: str, clock_offset: timedelta | None) -> EdgeStatus:
    """The document of a snapshot."""
    report = snapshot.report
    return EdgeStatus(
        edge=edge,
        at=snapshot.at,
        software_version=importlib.metadata.version("ahi-ingest"),
        ready=not snapshot.reasons,
        reasons=tuple(snapshot.reasons),
        warnings=tuple(snapshot.warnings),
        workers=report.workers,
        connected=report.receiving,
        open=snapshot.count(SpoolState.OPEN),
        sealed=snapshot.count(SpoolState.SEALED) + snapshot.count(SpoolState.UPLOADED),
        associations=tuple(
            SpooledCount(
                association=one.association,
                calling_ae=one.calling_ae,
                state=str(one.state),
                objects=one.objects,
                size_bytes=one.size_bytes,
                oldest_at=one.oldest_at,
            )
            for one in snapshot.associations[:_ASSOCIATIONS_MAX]
        ),
        spool_objects=snapshot.spool_objects,
        spool_bytes=snapshot.spool_bytes,
        spool_oldest_seconds=int(snapshot.spool_oldest_seconds),
        upload_lag_seconds=int(report.upload_lag_seconds),
        disk_free_bytes=snapshot.disk_free_bytes,
        quarantined=report.quarantined,
        unchecked=report.unchecked,
        last_objects=tuple(
            LastObject(calling_ae=calling_ae, at=datetime.fromtimestamp(at, UTC))
            for calling_ae, at in sorted(report.last_object_at.items())
        ),
        refused=tuple(Count(code=code, count=count) for code, count in sorted(report.refused.items())),
        rejected=tuple(Count(code=code, count=count) for code, count in sorted(report.rejected.items())),
        clock_offset_milliseconds=None if clock_offset is None else round(clock_offset / timedelta(milliseconds=1)),
    )


class StatusSender:
    """Sends from `start` until `stop`."""

    def __init__(self, observer: Observer, cloud: Cloud, edge: str, now: Callable[[], datetime] = utc_now) -> None:
        self._observer, self._cloud, self._edge, self._now = observer, cloud, edge, now
        self._clock_offset: timedelta | None = None
        self._failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A report that is on its way is not waited for."""
        self._stopping.set()

    def send(self) -> None:
        """Raises CloudError, OSError."""
        document = to_json(status_of(self._observer.snapshot(), self._edge, self._clock_offset))
        began = self._now()
        s3_time = self._cloud.replace(status_key(self._edge), document)
        self._clock_offset = s3_time - (began + (self._now() - began) / 2)

    def send_logged(self) -> None:
        """Send; of an outage the first failure is logged, and no other."""
        try:
            self.send()
            self._failing = False
        except (CloudError, OSError) as error:
            if not self._failing:
                said = error.strerror if isinstance(error, OSError) else str(error)
                _log.warning("status not sent, will be tried again", extra={"error": said})
            self._failing = True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.send_logged()
            self._stopping.wait(STATUS_EVERY_SECONDS)
