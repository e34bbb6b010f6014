"""The command `ahi-ingest receive`: the receiver alone, configured by its environment and a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from receiver.configuration import read_settings
from receiver.filesystem import LocalFileSystem
from receiver.listening import open_sockets
from receiver.logs import configure_logs
from receiver.memory import share_heaps
from receiver.monitor import Monitor
from receiver.process import PID_NAME, StopRequest, connect_cloud, starting
from receiver.service import Receiver
from receiver.spool import own_spool
from receiver.supervisor import Supervisor


def receive(config: Path | None = None) -> None:
    """Receive DICOM over C-STORE, and bring it to S3.

    Configured by AHI_INGEST_* variables (docs/configuration.md) and the standard AWS_* variables. Prints one JSON line with
    the port when it is ready, logs JSON to standard error, and ends in order on SIGTERM.
    """
    share_heaps()
    stop = StopRequest()
    with starting():
        settings = read_settings(config)
        configure_logs(settings.log_level)
        cloud = connect_cloud(settings)
        receiver: Receiver | Supervisor
        if settings.workers > 1:
            own_spool(settings.spool, LocalFileSystem())  # until this process ends
            receiver = Supervisor(settings, open_sockets(settings), stop)
        else:
            receiver = Receiver(settings, cloud)
        (settings.spool / PID_NAME).write_text(str(os.getpid()))
        monitor = Monitor(settings, receiver.report, cloud)
        monitor.start()
        receiver.start()
        monitor.receiver_started()
    ports = {"port": receiver.port, "tls_port": receiver.tls_port, "health_port": monitor.port}
    sys.stdout.write(json.dumps({"event": "ready", **ports, "ae_title": settings.ae_title}) + "\n")
    sys.stdout.flush()
    while not stop.wait(1):
        if stop.drain.is_set():
            receiver.drain()
            if receiver.is_idle:
                break
    receiver.stop()
    monitor.stop()
