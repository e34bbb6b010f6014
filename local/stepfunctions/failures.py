"""What becomes of a failed state: retried, caught, or the end of its flow.

As on AWS: the first retrier that names the error decides; when it has used up its attempts, the catchers are asked, not
the next retrier. Each retrier counts on its own, for one visit of the state.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.stepfunctions import errors

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from local.stepfunctions.definition import Catcher, Retrier, State

# States.ALL does not take it. The documentation says so of States.DataLimitExceeded too; recorded on AWS, it takes that.
_TERMINAL = frozenset({errors.RUNTIME})


def matches(error_equals: Iterable[str], error: str | None) -> bool:
    for name in error_equals:
        if name == error and error is not None:
            return True
        if name == "States.ALL" and error not in _TERMINAL:
            return True
        if name == errors.TASK_FAILED and error not in _TERMINAL | {errors.TIMEOUT}:
            return True
    return False


def retrier(state: State, retries: Counter[int], error: str | None) -> tuple[int, Retrier] | None:
    """The retrier that takes this error, with its index, if it has an attempt left."""
    for index, candidate in enumerate(state.retry):
        if matches(candidate.error_equals, error):
            return (index, candidate) if retries[index] < candidate.max_attempts else None
    return None


def catcher(state: State, error: str | None) -> tuple[int, Catcher] | None:
    for index, candidate in enumerate(state.catch):
        if matches(candidate.error_equals, error):
            return index, candidate
    return None


def delay_seconds(retrier: Retrier, retries_before: int, uniform: Callable[[float, float], float]) -> float:
    """IntervalSeconds x BackoffRate^n, at most MaxDelaySeconds; FULL jitter draws from 0 to that."""
    try:
        delay = retrier.interval_seconds * retrier.backoff_rate**retries_before
    except OverflowError:
        delay = float("inf")
    delay = min(delay, 31_622_400.0 if retrier.max_delay_seconds is None else float(retrier.max_delay_seconds))
    return uniform(0.0, delay) if retrier.full_jitter else delay
