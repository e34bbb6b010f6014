"""Work side by side: the first failure counts, what comes after it is not heard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.stepfunctions.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, seconds: int | None, work: Awaitable[T]) -> T:
    """Raises TimeoutError when the work takes longer than that on this clock. It is cancelled then."""
    call = asyncio.ensure_future(work)
    call.add_done_callback(_hear)
    waited: list[asyncio.Future[Any]] = [call]
    if seconds is not None:
        waited.append(asyncio.ensure_future(clock.sleep_until(clock.now() + seconds)))
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not call.done():
            raise TimeoutError
        return call.result()
    finally:
        for future in waited:
            future.cancel()


async def side_by_side(count: int, limit: int, run: Callable[[int], Awaitable[None]]) -> None:
    """Runs 0..count-1, begun in order, at most `limit` at once. Raises the first failure; the others are cancelled then."""
    indices = iter(range(count))
    failures: list[Exception] = []

    async def worker() -> None:
        for index in indices:
            try:
                await run(index)
            except Exception as error:
                failures.append(error)
                raise

    workers = [asyncio.ensure_future(worker()) for _ in range(min(limit, count))]
    for each in workers:
        each.add_done_callback(_hear)
    try:
        if workers:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        if failures:
            raise failures[0]
    finally:
        for each in workers:
            each.cancel()


def _hear(future: asyncio.Future[Any]) -> None:
    """Takes note of a failure, so that asyncio does not report it as forgotten."""
    if not future.cancelled():
        future.exception()
