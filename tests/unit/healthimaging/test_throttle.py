"""The rates of the service, on a fake clock."""

from __future__ import annotations

from local.healthimaging.errors import ServiceError
from local.healthimaging.settings import RATES, Rate
from local.healthimaging.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def taken(throttle: Throttle, operation: str, tries: int) -> int:
    """How many of `tries` calls at one moment are let through."""
    through = 0
    for _ in range(tries):
        try:
            throttle.take(operation)
        except ServiceError:
            continue
        through += 1
    return through


def test_starts_are_let_through_one_a_second_after_a_burst_of_two() -> None:
    clock = Clock()
    throttle = Throttle(RATES, clock)
    assert taken(throttle, "StartDICOMImportJob", 5) == 2
    clock.seconds += 1
    assert taken(throttle, "StartDICOMImportJob", 5) == 1
    clock.seconds += 0.5
    assert taken(throttle, "StartDICOMImportJob", 5) == 0
    clock.seconds += 0.5
    assert taken(throttle, "StartDICOMImportJob", 5) == 1


def test_a_long_rest_earns_no_more_than_the_burst() -> None:
    clock = Clock()
    throttle = Throttle(RATES, clock)
    clock.seconds += 3_600
    assert taken(throttle, "GetDICOMImportJob", 100) == 50


def test_operations_do_not_share_a_rate() -> None:
    throttle = Throttle({"StartDICOMImportJob": Rate(1, 1), "GetDICOMImportJob": Rate(1, 1)}, Clock())
    throttle.take("StartDICOMImportJob")
    throttle.take("GetDICOMImportJob")
