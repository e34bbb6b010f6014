"""The threads that upload, through outages of any length.

What fails goes to the end of the queue, and its worker waits first, with full jitter and longer each time, until something
succeeds. While nobody knows whether the cloud is available, one worker asks and the others wait for it, for a second each: an
outage costs few attempts. An object that is always refused does not hold up the others.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from receiver.cloud import CloudError, CloudRefusedError, CloudUnavailableError
from receiver.logs import error_text
from receiver.uploads import Uploads

_BACKOFF_FIRST_SECONDS = 0.2
_ASKS_ALONE_SECONDS = 1.0
"""How long the others leave it to one worker to ask: its object may be a large one."""
_FAILED = "upload failed, will be tried again"
_REFUSED = "AWS refuses an upload until someone changes what the error names; it is kept, and will be tried again"

_log = logging.getLogger(__name__)


class UploadWorkers:
    """Threads that work on `Uploads` until `stop`."""

    def __init__(self, uploads: Uploads, *, workers: int, backoff_max_seconds: float) -> None:
        self._uploads, self._backoff_max_seconds = uploads, backoff_max_seconds
        self._stopping = threading.Event()
        self._available = False  # until one of them has seen that it is
        self._failures = 0  # of any of them, since something succeeded
        self._asking = threading.Lock()  # held by the worker that asks whether the cloud is available again
        self._threads = [threading.Thread(target=self._run, name=f"upload-{n}", daemon=True) for n in range(workers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End after the tasks in hand, or without them when they take longer: to the next start, like the rest of the queue."""
        self._stopping.set()
        for _ in self._threads:
            self._uploads.wake()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            alone = not self._available and self._asking.acquire(timeout=_ASKS_ALONE_SECONDS)
            try:
                self._work()
            finally:
                if alone:
                    self._asking.release()

    def _work(self) -> None:
        """Do a task, and wait if it fails."""
        try:
            if self._uploads.run_next(timeout_seconds=60):
                self._available, self._failures, self._uploads.refusal = True, 0, ""
        except Exception as error:  # noqa: BLE001 - a worker never ends: the data stays, and is tried again
            self._failed(error)
            most = min(self._backoff_max_seconds, _BACKOFF_FIRST_SECONDS * 2**self._failures)
            self._failures = min(self._failures + 1, 30)
            self._stopping.wait(random.uniform(0, most))

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, (CloudError, OSError))
        if isinstance(error, CloudUnavailableError):
            self._available = False
        if isinstance(error, CloudRefusedError):
            self._uploads.refusal = str(error)
        _log.log(
            logging.WARNING if isinstance(error, CloudUnavailableError) else logging.ERROR,
            _REFUSED if isinstance(error, CloudRefusedError) else _FAILED,
            extra={"association": getattr(error, "__notes__", [""])[-1], "error": error_text(error)},
            exc_info=None if expected else error,
        )
