"""Asks what HealthImaging has made of objects, for requests that wait for it: in a thread of its own, at a lasting pace.

What was answered is kept in memory alone, until the request is resolved; after a restart it is asked again.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contract.commitment import OBJECTS_MAX, ImportResult, ImportStatus, SentObject
from receiver.cloud import CloudError

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2.0, 60.0
_WAIT_OF_AGE = 0.25
"""A request is asked about again after this much of its age, so that it waits a quarter longer than it had to."""

_log = logging.getLogger(__name__)


class ImportService(Protocol):
    """Who knows (receiver.aws.ImportFunction)."""

    def results(self, objects: Sequence[SentObject]) -> Sequence[ImportResult]:
        """One result for each of at most OBJECTS_MAX objects. Raises CloudError."""


@dataclass
class _Inquiry:
    """What is known of one request's objects; a result is final here once it is not PENDING."""

    results: dict[SentObject, ImportResult] = field(default_factory=dict)
    next_at: float = 0.0
    asking: bool = False


class Imports:
    """Inquiries by request. All but the asking is called from one thread, that of the commitments."""

    def __init__(self, service: ImportService, *, wake: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        """`wake` is called when there is something new."""
        self._service, self._wake, self._clock = service, wake, clock
        self._inquiries: dict[int, _Inquiry] = {}
        self._questions: queue.SimpleQueue[tuple[int, float, list[SentObject]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="commitment-imports", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """A question that is on its way is not waited for."""
        self._questions.put(None)

    def is_due(self, request: int) -> bool:
        """Whether there may be news of a request, or it is time to ask."""
        with self._lock:
            inquiry = self._inquiries.get(request)
            return inquiry is None or (not inquiry.asking and self._clock() >= inquiry.next_at)

    def results(self, request: int) -> dict[SentObject, ImportResult]:
        """What was answered that is final."""
        with self._lock:
            inquiry = self._inquiries.get(request)
            return dict(inquiry.results) if inquiry else {}

    def ask(self, request: int, requested_at: float, objects: Sequence[SentObject]) -> None:
        """Ask what became of objects, unless that is being asked, or was a moment ago."""
        with self._lock:
            inquiry = self._inquiries.setdefault(request, _Inquiry())
            unknown = [one for one in objects if one not in inquiry.results]
            if inquiry.asking or not unknown or self._clock() < inquiry.next_at:
                return
            inquiry.asking = True
        self._questions.put((request, requested_at, unknown))

    def keep_only(self, requests: Collection[int]) -> None:
        """Forget all others: they are resolved, whoever did it."""
        with self._lock:
            for request in self._inquiries.keys() - set(requests):
                del self._inquiries[request]

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            self._ask(*question)
            self._wake()

    def _ask(self, request: int, requested_at: float, objects: list[SentObject]) -> None:
        final: dict[SentObject, ImportResult] = {}
        try:
            for at in range(0, len(objects), OBJECTS_MAX):
                some = objects[at : at + OBJECTS_MAX]
                results = zip(some, self._service.results(some), strict=True)
                final |= {one: result for one, result in results if result.status is not ImportStatus.PENDING}
        except CloudError as error:
            _log.warning("imports were not asked about, will be tried again", extra={"error": str(error)})
        except Exception as error:  # noqa: BLE001 - the thread never ends: what is open stays, and is asked again
            _log.error(
                "imports were not asked about, will be tried again", extra={"error": type(error).__name__}, exc_info=error
            )
        with self._lock:
            if (inquiry := self._inquiries.get(request)) is None:  # resolved meanwhile: its deadline came
                return
            inquiry.results |= final
            inquiry.asking = False
            age = self._clock() - requested_at
            wait = min(_LONGEST_WAIT_SECONDS, max(_FIRST_WAIT_SECONDS, _WAIT_OF_AGE * age))
            inquiry.next_at = 0.0 if final else self._clock() + random.uniform(wait / 2, wait)
