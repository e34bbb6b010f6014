"""How often each operation may be called: one token bucket per operation, on a clock that is handed in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from local.healthimaging.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.healthimaging.settings import Rate


class Throttle:
    """Safe to share between threads. A bucket starts full."""

    def __init__(self, rates: Mapping[str, Rate], monotonic: Callable[[], float]) -> None:
        self._rates = rates
        self._monotonic = monotonic
        self._lock = threading.Lock()
        now = monotonic()
        self._buckets = {operation: (rate.burst, now) for operation, rate in rates.items()}

    def take(self, operation: str) -> None:
        """Count one call. Raises ServiceError ThrottlingException when it comes too early."""
        rate = self._rates[operation]
        with self._lock:
            tokens, then = self._buckets[operation]
            now = self._monotonic()
            tokens = min(rate.burst, tokens + (now - then) * rate.per_second)
            if tokens < 1:
                self._buckets[operation] = (tokens, now)
                raise ServiceError("ThrottlingException", "Rate exceeded")
            self._buckets[operation] = (tokens - 1, now)
