"""Time for the engine: the machine's clock, or a test's, which jumps.

Timers are wall-clock times, so that a Wait that was recorded before a crash still ends when it was meant to.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import selectors
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock(Protocol):
    """What the engine needs of time. All methods are called in the thread of the loop that `new_event_loop` made."""

    def now(self) -> float:
        """Seconds since the epoch."""

    async def sleep_until(self, when: float) -> None:
        """Returns when `now() >= when`."""

    def busy(self) -> contextlib.AbstractContextManager[None]:
        """Around work outside the loop (an invocation): a clock that jumps waits for it."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """The loop the engine runs in."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    async def sleep_until(self, when: float) -> None:
        while (seconds := when - time.time()) > 0:
            await asyncio.sleep(min(seconds, 3600))  # looks again each hour, should the clock be set meanwhile

    def busy(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()


class FakeClock:
    """A clock for tests. When the engine has nothing left to do, it jumps to the next timer: an hour's Wait takes no time.

    With `jumps=False` it stands still until the test calls `advance(seconds)`.
    An invoker that is a coroutine may `await clock.sleep(30)` to take 30 seconds of this clock.
    """

    def __init__(self, start: float = 1_800_000_000.0, *, jumps: bool = True) -> None:
        self._now = start
        self._jumps = jumps
        self._limit = start  # how far `advance` has allowed
        self._busy = 0
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._advances: list[threading.Event] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        return self._now

    async def sleep_until(self, when: float) -> None:
        if when <= self._now:
            return
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, future))
        await future

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now + seconds)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def stop(self) -> None:
        """From now on time stands still until `advance`."""
        self._jumps = False

    def advance(self, seconds: float) -> None:
        """Called from the test's thread: lets this much time pass, timer by timer, and returns when all is quiet.

        Unlike a jump it does not wait for invocations in flight, so that their timeouts can be tested.
        """
        if self._loop is None:
            raise RuntimeError("give the clock to an Engine first")
        settled = threading.Event()

        def allow() -> None:
            self._limit = self._now + seconds
            self._advances.append(settled)

        self._loop.call_soon_threadsafe(allow)
        if not settled.wait(30):
            raise TimeoutError("the engine did not come to rest within 30 s")

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.SelectorEventLoop(_Selector(self))
        self._timers.clear()
        return self._loop

    def pass_time(self) -> bool:
        """Called when the loop is idle: fires the next timer that may fire. False when there is none."""
        while self._timers and self._timers[0][2].done():  # cancelled
            heapq.heappop(self._timers)
        if self._timers and (self._timers[0][0] <= self._limit or (self._jumps and not self._busy)):
            when, _, future = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            self._limit = max(self._limit, self._now)
            future.set_result(None)
            return True
        self._now = max(self._now, self._limit)
        for settled in self._advances:
            settled.set()
        self._advances.clear()
        return False


class _Selector(selectors.DefaultSelector):
    """asyncio calls `select` without a zero timeout exactly when no callback is ready: the moment to let time pass."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        idle = timeout is None or timeout > 0
        ready = super().select(0)
        if ready or not idle or self._clock.pass_time():
            return ready
        return super().select(timeout)
