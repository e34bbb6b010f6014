"""The command `ahi-ingest receive`: the receiver alone, configured by its environment."""

from __future__ import annotations

import json
import signal
import sys
import threading
from types import FrameType

import typer

from receiver.aws import AwsCloud
from receiver.cloud import CloudRefusedError
from receiver.logs import configure_logs
from receiver.service import Receiver
from receiver.settings import SettingsError, read_settings
from receiver.spool import SpoolInUseError


def receive() -> None:
    """Receive DICOM over C-STORE, and bring it to S3.

    Configured by AHI_INGEST_* variables (docs/configuration.md) and the standard AWS_* variables. Prints one JSON line with
    the port when it is ready, logs JSON to standard error, and ends in order on SIGTERM.
    """
    try:
        settings = read_settings()
        configure_logs(settings.log_level)
        cloud = AwsCloud(bucket=settings.bucket, queue_url=settings.queue_url, connections=settings.upload_workers + 2)
        receiver = Receiver(settings, cloud)
        receiver.start()
    except (SettingsError, SpoolInUseError, CloudRefusedError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(
            f"The receiver cannot start: {error}. Check AHI_INGEST_SPOOL, AHI_INGEST_HOST and AHI_INGEST_PORT.", err=True
        )
        raise typer.Exit(2) from None
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    sys.stdout.write(json.dumps({"event": "ready", "port": receiver.port, "ae_title": settings.ae_title}) + "\n")
    sys.stdout.flush()
    stop.wait()
    receiver.stop()
