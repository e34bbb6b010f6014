"""What each process of a receiver needs: to be told when to stop, and to say why it cannot start."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from receiver.aws import AwsCloud
from receiver.cloud import CloudRefusedError
from receiver.settings import Settings, SettingsError
from receiver.spool import SpoolInUseError

CANNOT_START = 2
"""Exit code of a process that said on standard error what to do before it can start."""

DRAIN_SIGNAL = signal.SIGUSR1
"""Asks a receiver to end once everything is in S3."""

PID_NAME = "pid"
"""The file in the spool that names the process to send it to."""


class CannotStartError(Exception):
    """The process cannot start. The text says what to do, or is empty where that was said already."""


class StopRequest(threading.Event):
    """Set by SIGTERM and SIGINT from now on; `drain` is set by DRAIN_SIGNAL. Made in the main thread."""

    def __init__(self) -> None:
        super().__init__()
        self.drain = threading.Event()
        signal.signal(DRAIN_SIGNAL, self._on_drain)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.set()

    def _on_drain(self, _number: int, _frame: FrameType | None) -> None:
        self.drain.set()


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Where what is wrong ends the process with a sentence that says what to do."""
    try:
        yield
    except (SettingsError, SpoolInUseError, CloudRefusedError, CannotStartError) as error:
        text = str(error)
    except OSError as error:
        text = f"The receiver cannot start: {error}. Check AHI_INGEST_SPOOL, AHI_INGEST_HOST and AHI_INGEST_PORT."
    else:
        return
    if text:
        sys.stderr.write(f"{text}\n")
    raise SystemExit(CANNOT_START)


def connect_cloud(settings: Settings) -> AwsCloud:
    """The cloud that the settings name. Raises CloudRefusedError."""
    return AwsCloud(
        bucket=settings.bucket,
        queue_url=settings.queue_url,
        connections=settings.upload_workers + 2,
        kms_key_id=settings.kms_key_id,
    )
