"""Slowing and refusing senders while the disk fills, with a clock and a disk that are told what to say."""

from __future__ import annotations

import logging

import pytest

from receiver.disk import RESPONSE_DELAY_MAX_SECONDS, Disk

LOW, RESERVE = 1000, 200


class Machine:
    """A disk with `free` bytes, and a clock."""

    def __init__(self) -> None:
        self.free, self.now, self.looked = 5000, 0.0, 0
        self.broken = False
        self.slept: list[float] = []
        self.disk = Disk(self.free_bytes, low_bytes=LOW, reserve_bytes=RESERVE, clock=lambda: self.now, sleep=self.slept.append)

    def free_bytes(self) -> int:
        self.looked += 1
        if self.broken:
            raise OSError("gone")
        return self.free

    def later(self, free: int) -> None:
        self.free = free
        self.now += 1


def test_senders_are_slowed_the_more_the_less_there_is_and_never_beyond_ten_seconds() -> None:
    machine = Machine()
    for free in (5000, 1000, 999, 600, 201, 0):
        machine.later(free)
        machine.disk.slow_down()
    assert machine.slept == sorted(machine.slept)
    assert len(machine.slept) == 4  # not above the low-water mark
    assert machine.slept[0] < 0.1
    assert machine.slept[-1] == RESPONSE_DELAY_MAX_SECONDS < 10


def test_below_the_reserve_nothing_is_taken_and_above_it_all_is_again() -> None:
    machine = Machine()
    for free, taken in ((200, True), (199, False), (0, False), (5000, True)):
        machine.later(free)
        assert machine.disk.has_room() is taken
        if taken:
            machine.disk.take(0)
        else:
            with pytest.raises(OSError, match="AHI_INGEST_DISK_RESERVE_BYTES"):
                machine.disk.take(0)


def test_what_is_written_between_two_looks_is_taken_into_account() -> None:
    machine = Machine()
    machine.later(500)
    machine.disk.take(300)
    with pytest.raises(OSError, match="reserve"):
        machine.disk.take(1)
    assert machine.looked == 1


def test_the_disk_is_looked_at_a_few_times_a_second_only() -> None:
    machine = Machine()
    for _ in range(1000):
        machine.disk.take(0)
        machine.now += 0.001
    assert machine.looked <= 5


def test_a_disk_that_does_not_say_how_much_is_free_takes_nothing() -> None:
    machine = Machine()
    machine.broken = True
    assert not machine.disk.has_room()


def test_each_change_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    with caplog.at_level(logging.INFO):
        for free in (5000, 5000, 500, 400, 100, 50, 5000):
            machine.later(free)
            machine.disk.has_room()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR", "INFO"]
