"""How whoever runs the receiver sees it: /livez, /readyz and /metrics on loopback, and status/<edge>.json in S3.

Runs in the one process, or in the supervisor, beside whatever receives; nothing here can slow a sender.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta

from contract.strict import utc_now
from receiver.cloud import Cloud
from receiver.counters import Report
from receiver.filesystem import LocalFileSystem
from receiver.monitor.http import HealthServer
from receiver.monitor.snapshot import Observer
from receiver.monitor.status import StatusSender
from receiver.settings import Settings
from receiver.spool.quarantine import Quarantine
from receiver.spool.view import SpoolView

_TIDY_EVERY_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Monitor:
    """All of it: `start`, `receiver_started`, `stop`."""

    def __init__(self, settings: Settings, report: Callable[[], Report], cloud: Cloud) -> None:
        """Bind the port of the settings, if they name one. Raises OSError."""
        observer = Observer(settings, SpoolView(settings.spool, LocalFileSystem()), report)
        self._health = HealthServer(observer, settings.health_host, settings.health_port) if settings.health_port >= 0 else None
        self._status = StatusSender(observer, cloud, settings.edge_id)
        self._settings = settings
        self._stopping = threading.Event()
        self._tidying = threading.Thread(target=self._tidy, name="quarantine", daemon=True)

    @property
    def port(self) -> int:
        """The port of /readyz, -1 when there is none."""
        return self._health.port if self._health else -1

    def start(self) -> None:
        """Answer probes, also while the receiver starts."""
        if self._health:
            self._health.start()

    def receiver_started(self) -> None:
        """From now on there is something to report."""
        self._status.start()
        self._tidying.start()

    def stop(self) -> None:
        self._stopping.set()
        self._status.stop()
        if self._health:
            self._health.stop()

    def _tidy(self) -> None:
        """Make room in the quarantine, now and then."""
        quarantine, settings = Quarantine(self._settings.spool), self._settings
        keep = timedelta(days=settings.quarantine_keep_days)
        while not self._stopping.wait(_TIDY_EVERY_SECONDS):
            try:
                gone = quarantine.make_room(
                    utc_now(), keep, lambda: shutil.disk_usage(settings.spool).free < settings.disk_low_bytes
                )
            except OSError as error:
                _log.warning("the quarantine cannot be tidied", extra={"error": error.strerror})
            else:
                for one in gone:
                    _log.warning("copy of a quarantined object discarded", extra={"association": one.facts.association})
