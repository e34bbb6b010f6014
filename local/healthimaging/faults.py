"""Faults on demand, for tests: what the next requests, jobs and files get wrong. See README.md for the control endpoint.

What concerns a job is decided at its start and kept with it, so that a job which is run again after a kill ends alike.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from local.healthimaging.causes import WARNING_CODES
from local.healthimaging.errors import ERROR_STATUS, ServiceError
from local.healthimaging.outputs import OUTPUT_NAMES
from local.healthimaging.settings import RATES

FILE_FAULTS = ("customer", "server", *WARNING_CODES)


class FaultsError(Exception):
    """The faults asked for cannot be read. The text says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class JobFaults:
    """What one job gets wrong."""

    fails: bool = False
    job_seconds: float | None = None
    outputs_late_seconds: float = 0
    missing_outputs: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> JobFaults:
        document = json.loads(text)
        return cls(**{**document, "missing_outputs": tuple(document["missing_outputs"])})


@dataclass
class RequestFault:
    """The next `times` requests for `operation` are answered with `error`, a name of the service's errors.

    `carried_out` has the operation done before that answer, as when an answer is lost on its way.
    """

    operation: str
    error: str
    times: int = 1
    carried_out: bool = False

    def answer(self) -> ServiceError:
        return ServiceError(self.error, "This answer was asked for by a test.")


@dataclass
class KeyFault:
    """Objects whose key ends in `suffix` meet `error`, one of FILE_FAULTS; the first `times` only, when that is given."""

    suffix: str
    error: str
    times: int | None = None


@dataclass
class _Asked:
    requests: list[RequestFault] = field(default_factory=list)
    failing_jobs: int = 0
    job_seconds: float | None = None
    outputs_late_seconds: float = 0
    missing_outputs: list[str] = field(default_factory=list)
    keys: list[KeyFault] = field(default_factory=list)


class Faults:
    """The faults that are asked for now. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = _Asked()

    def replace(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace all faults by `wanted` (an empty one clears them), and return what holds now. Raises FaultsError."""
        try:
            requests = [RequestFault(**each) for each in wanted.get("requests", [])]
            keys = [KeyFault(**each) for each in wanted.get("keys", [])]
            asked = _Asked(**{**wanted, "requests": requests, "keys": keys})
        except TypeError as error:
            raise FaultsError(f"Unknown or malformed fault: {error}. See local/healthimaging/README.md.") from error
        for what, used, known in (
            ("operation", [each.operation for each in requests], RATES),
            ("error of a request", [each.error for each in requests], ERROR_STATUS),
            ("error of a key", [each.error for each in keys], FILE_FAULTS),
            ("missing output", asked.missing_outputs, OUTPUT_NAMES),
        ):
            if not set(used) <= set(known):
                raise FaultsError(f"A {what} must be one of {', '.join(known)}.")
        with self._lock:
            self._asked = asked
        return self.current()

    def current(self) -> Mapping[str, Any]:
        with self._lock:
            return asdict(self._asked)

    def of_request(self, operation: str) -> RequestFault | None:
        """What this request for `operation` meets; it is counted."""
        with self._lock:
            for fault in self._asked.requests:
                if fault.operation == operation and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def of_next_job(self) -> JobFaults:
        with self._lock:
            fails = self._asked.failing_jobs > 0
            self._asked.failing_jobs -= fails
            return JobFaults(
                fails=fails,
                job_seconds=self._asked.job_seconds,
                outputs_late_seconds=self._asked.outputs_late_seconds,
                missing_outputs=tuple(self._asked.missing_outputs),
            )

    def of_file(self, key: str) -> str | None:
        """What this file meets, one of FILE_FAULTS; it is counted."""
        with self._lock:
            for fault in self._asked.keys:
                if key.endswith(fault.suffix) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault.error
        return None
