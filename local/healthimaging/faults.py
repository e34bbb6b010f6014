"""Faults on demand, for tests: what the next starts, jobs and files get wrong. See README.md for the control endpoint.

What concerns a job is decided at its start and kept with it, so that a job which is run again after a kill ends alike.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from local.healthimaging.errors import ERROR_STATUS, ServiceError

FileError = Literal["customer", "server"]


class FaultsError(Exception):
    """The faults asked for cannot be read. The text says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class JobFaults:
    """What one job gets wrong."""

    fails: bool = False
    job_seconds: float | None = None
    outputs_late_seconds: float = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> JobFaults:
        return cls(**json.loads(text))


@dataclass
class KeyFault:
    """Objects whose key ends in `suffix` fail; the first `times` of them only, when that is given."""

    suffix: str
    error: FileError
    times: int | None = None


@dataclass
class _Asked:
    start_error: str | None = None
    start_errors: int = 0
    failing_jobs: int = 0
    job_seconds: float | None = None
    outputs_late_seconds: float = 0
    keys: list[KeyFault] = field(default_factory=list)


class Faults:
    """The faults that are asked for now. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = _Asked()

    def replace(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace all faults by `wanted` (an empty one clears them), and return what holds now. Raises FaultsError."""
        try:
            keys = [KeyFault(**key) for key in wanted.get("keys", [])]
            asked = _Asked(**{**wanted, "keys": keys})
        except TypeError as error:
            raise FaultsError(f"Unknown or malformed fault: {error}. See local/healthimaging/README.md.") from error
        if asked.start_error is not None and asked.start_error not in ERROR_STATUS:
            raise FaultsError(f"start_error must be one of {', '.join(ERROR_STATUS)}.")
        if any(key.error not in {"customer", "server"} for key in keys):
            raise FaultsError("The error of a key must be customer or server.")
        with self._lock:
            self._asked = asked
        return self.current()

    def current(self) -> Mapping[str, Any]:
        with self._lock:
            return asdict(self._asked)

    def at_start_request(self) -> None:
        """Raises the ServiceError that this StartDICOMImportJob is to be answered with, if any."""
        with self._lock:
            if self._asked.start_error is None or self._asked.start_errors <= 0:
                return
            self._asked.start_errors -= 1
            raise ServiceError(self._asked.start_error, "This answer was asked for by a test.")

    def of_next_job(self) -> JobFaults:
        with self._lock:
            fails = self._asked.failing_jobs > 0
            self._asked.failing_jobs -= fails
            return JobFaults(
                fails=fails, job_seconds=self._asked.job_seconds, outputs_late_seconds=self._asked.outputs_late_seconds
            )

    def of_file(self, key: str) -> FileError | None:
        with self._lock:
            for fault in self._asked.keys:
                if key.endswith(fault.suffix) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault.error
        return None
