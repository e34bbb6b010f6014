"""What the benchmarks say of several rounds."""

from __future__ import annotations

import math
import random

import pytest

from bench.data import KINDS, Kind, head, kind_of, pixels, sop_instance
from bench.measure import geometric_mean, interval, ratios
from bench.scale import exponent


def test_interval_of_seven_rounds_is_their_range_and_covers_98_percent() -> None:
    one = interval([3, 1, 2, 7, 5, 6, 4])
    assert (one.median, one.low, one.high) == (4, 1, 7)
    assert one.coverage == pytest.approx(1 - 2 / 2**7)


def test_interval_narrows_with_more_rounds_and_covers_what_it_says() -> None:
    """Tried out: of a thousand samples of a known median, the share whose interval holds it."""
    chance = random.Random(1)
    intervals = [interval([chance.gauss(10, 3) for _ in range(15)]) for _ in range(1000)]
    held = sum(one.low <= 10 <= one.high for one in intervals) / len(intervals)
    assert intervals[0].coverage >= 0.95
    assert held == pytest.approx(intervals[0].coverage, abs=0.02)
    assert interval(list(range(15))).low > 0


def test_interval_of_few_rounds_says_how_little_it_covers() -> None:
    assert interval([1, 2, 3]).coverage == pytest.approx(0.75)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([10, 200], [5, 100]).median == 2


def test_geometric_mean_of_a_half_and_its_double_is_one() -> None:
    assert geometric_mean([0.5, 2]) == pytest.approx(1)


def test_exponent_is_that_of_the_power_law() -> None:
    sizes = [10.0, 100, 1000]
    assert exponent(sizes, [math.sqrt(size) for size in sizes]) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_heads_of_a_kind_are_equally_long_so_that_its_objects_share_their_pixels(kind: Kind) -> None:
    lengths = {len(head(kind, sop_instance(run, number))) for run in (0, 7, 123_456_789) for number in (0, 99_999)}
    assert len(lengths) == 1


def test_kind_takes_another_number_of_objects() -> None:
    assert kind_of("ct:1000").objects == 1000
    assert len(pixels(kind_of("tiny:5"))) == KINDS["tiny"].pixel_bytes
