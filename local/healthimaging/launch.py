"""Starts the HealthImaging emulator as a program of the local stack, and tells it what to get wrong."""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from local.processes import LOOPBACK, Process, http_answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def set_faults(endpoint_url: str, **faults: Any) -> None:
    """Replace the faults of the emulator there (README.md); without any, clear them. Raises urllib.error.URLError."""
    body = json.dumps(faults).encode()
    request = urllib.request.Request(f"{endpoint_url}/_control/faults", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - the emulator's URL
        pass


class HealthImaging:
    """A running emulator. Use as a context manager, or call `stop`."""

    def __init__(self, process: Process, endpoint_url: str, datastore_id: str) -> None:
        self.process = process
        self.endpoint_url = endpoint_url
        self.datastore_id = datastore_id

    @classmethod
    def start(
        cls,
        state_folder: Path,
        port: int,
        *,
        s3_endpoint: str,
        datastore_id: str,
        events_endpoint: str | None = None,
        options: Sequence[str] = (),
    ) -> Self:
        """Start the emulator of `state_folder` on loopback with a data store, and return when it answers.

        `options` are further options of `python -m local.healthimaging`. Raises ProcessError.
        """
        endpoint_url = f"http://{LOOPBACK}:{port}"
        command = [sys.executable, "-m", "local.healthimaging", "--port", str(port), "--state", str(state_folder)]
        command += ["--s3-endpoint", s3_endpoint, "--datastore-id", datastore_id, *options]
        if events_endpoint:
            command += ["--events-endpoint", events_endpoint]
        process = Process.start(
            "The HealthImaging emulator",
            command,
            log_path=state_folder / "healthimaging.log",
            ready=http_answers(f"{endpoint_url}/_control/health"),
        )
        return cls(process, endpoint_url, datastore_id)

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
