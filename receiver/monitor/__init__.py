"""How whoever runs the receiver sees it: /livez, /readyz and /metrics on loopback, and status/<edge>.json in S3.

Runs in the one process, or in the supervisor, beside whatever receives; nothing here can slow a sender.
"""

from __future__ import annotations

from collections.abc import Callable

from receiver.cloud import Cloud
from receiver.counters import Report
from receiver.filesystem import LocalFileSystem
from receiver.monitor.http import HealthServer
from receiver.monitor.snapshot import Observer
from receiver.monitor.status import StatusSender
from receiver.settings import Settings
from receiver.spool.view import SpoolView


class Monitor:
    """All of it: `start`, `receiver_started`, `stop`."""

    def __init__(self, settings: Settings, report: Callable[[], Report], cloud: Cloud) -> None:
        """Bind the port of the settings, if they name one. Raises OSError."""
        observer = Observer(settings, SpoolView(settings.spool, LocalFileSystem()), report)
        self._health = HealthServer(observer, settings.health_host, settings.health_port) if settings.health_port >= 0 else None
        self._status = StatusSender(observer, cloud, settings.edge_id)

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

    def stop(self) -> None:
        self._status.stop()
        if self._health:
            self._health.stop()
