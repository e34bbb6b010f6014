"""What is remembered of objects: found again whatever goes to the disk, whatever collides, and whatever the disk refuses."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta

import pytest

from contract.manifest import part_json
from contract.strict import to_json
from receiver import records
from receiver.placement import Place, Placement
from receiver.records import Record, Records
from receiver.spool import StartFacts
from tests.unit.receiver.test_placement import FACTS, NOW, index


class Disk:
    """`receiver.records.Scratch` in memory. While it is `full` it takes nothing."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.full = self.unreadable = False

    def write(self, at: int, content: bytes) -> None:
        if self.full:
            self.content[at : at + 7] = content[:7]  # as a disk that becomes full within a write
            raise OSError(errno.ENOSPC, "full")
        self.content[at : at + len(content)] = content

    def read(self, at: int, size_bytes: int) -> bytes:
        if self.unreadable:
            raise OSError(errno.EIO, "unreadable")
        assert at + size_bytes <= len(self.content)
        return bytes(self.content[at : at + size_bytes])


@pytest.fixture(autouse=True)
def _little_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HELD_BYTES", 500)


def record(number: int, uid: str | None = None) -> Record:
    its = f"1.2.{number}" if uid is None else uid
    return Record(bytes([number % 256]) * 32, number, -number, number, 1, number % 3, 0, number % 2 == 1, its)


@pytest.mark.parametrize(
    "hash_of", [hash, lambda _: 7, lambda value: hash(value) % 5], ids=["hashes", "all collide", "many collide"]
)
def test_each_is_found_by_uid_and_by_content(hash_of: Callable[[Hashable], int]) -> None:
    disk = Disk()
    kept = Records(disk, hash_of=hash_of)
    for number in range(200):
        one = record(number)
        assert kept.last_of(one.sop_instance_uid) is None
        assert kept.same_as(one.sop_instance_uid, one.digest, one.syntax) is None
        assert kept.append(one) == number
    assert len(disk.content) > 10_000
    for number in random.Random(1).sample(range(200), 200):
        one = record(number)
        assert kept[number] == one
        assert kept.last_of(one.sop_instance_uid) == number
        assert kept.same_as(one.sop_instance_uid, one.digest, one.syntax) == one
        assert kept.same_as(one.sop_instance_uid, one.digest, one.syntax + 1) is None


def test_the_last_of_a_uid_takes_the_place_of_those_before_and_all_contents_are_found() -> None:
    kept = Records(Disk())
    for number in range(100):
        before = kept.last_of("1.2")
        assert before == (number - 1 if number else None)
        kept.append(record(number, "1.2"), before=before)
    assert all(kept.same_as("1.2", record(number).digest, number % 3) == record(number, "1.2") for number in range(100))


def test_what_a_full_disk_does_not_take_is_held_until_it_does() -> None:
    disk = Disk()
    kept = Records(disk)
    for number in range(300):
        disk.full = 50 <= number < 200
        kept.append(record(number))
    assert [kept[number] for number in range(300)] == [record(number) for number in range(300)]
    assert len(disk.content) > 20_000


def test_a_uid_that_is_no_text_is_as_it_was() -> None:
    kept = Records(Disk())
    uids = ["", "é\0/..", "\udcff\ud800", "1" * 512]
    for number, uid in enumerate(uids):
        kept.append(record(number, uid))
    assert [kept[number].sop_instance_uid for number in range(len(uids))] == uids


def sequence(seed: int) -> list[tuple[str, str, str, int]]:
    """UID, content, transfer syntax and size of objects, of which many are repeats, and many other content."""
    chance = random.Random(seed)
    return [
        (
            f"1.{chance.randrange(40)}",
            f"{chance.randrange(3)}",
            f"1.2.840.10008.1.2.{chance.randrange(1, 3)}",
            chance.randrange(1, 9),
        )
        for _ in range(300)
    ]


class Model:
    """Placement as its rules say it, and no more: the part and the number of arrival of what each content was first."""

    def __init__(self, facts: StartFacts) -> None:
        self._facts = facts
        self.parts: list[list[tuple[str, str, int]]] = []
        self.placed: dict[tuple[str, str, str], tuple[int, int]] = {}

    def add(self, arrival: int, uid: str, content: str, syntax: str, size: int) -> tuple[int, int | None]:
        """(part, what it repeats)"""
        if (uid, content, syntax) in self.placed:
            return self.placed[uid, content, syntax]
        after = max((part for (its, _, _), (part, _) in self.placed.items() if its == uid), default=0)
        part = next(
            (
                number
                for number, held in enumerate(self.parts, 1)
                if number > after and len(held) < self._facts.part_max_objects
            ),
            len(self.parts) + 1,
        )
        if part > len(self.parts):
            self.parts.append([])
        self.parts[part - 1].append((uid, content, size))
        self.placed[uid, content, syntax] = part, arrival
        return part, None


@pytest.mark.parametrize("seed", range(5))
def test_placement_on_a_disk_is_what_its_rules_say(seed: int) -> None:
    placement, in_memory, model = Placement(FACTS, Disk()), Placement(FACTS), Model(FACTS)
    for arrival, (uid, content, syntax, size) in enumerate(sequence(seed)):
        received_at = NOW + timedelta(seconds=arrival)
        place = placement.add(index(uid, content, syntax=syntax), size, received_at)
        assert place == in_memory.add(index(uid, content, syntax=syntax), size, received_at)
        part, repeats = model.add(arrival, uid, content, syntax, size)
        assert place.key.split("/")[3] == str(part)
        assert place.repeats == repeats
    parts = list(placement.parts())
    assert parts == list(in_memory.parts())
    assert [
        [(entry.sop_instance_uid, bytes.fromhex(entry.digest)[:1].decode(), entry.size_bytes) for entry in part.entries]
        for part in parts
    ] == model.parts
    assert [b"".join(pieces) for pieces in placement.parts_json()] == [to_json(part) for part in parts]
    assert len(parts) > 3


def test_an_object_that_could_not_be_placed_is_placed_the_next_time_as_if_nothing_had_been() -> None:
    disk = Disk()
    placement, undisturbed = Placement(FACTS, disk), Placement(FACTS)
    failed = 0
    for arrival, (uid, content, syntax, size) in enumerate(sequence(9)):
        disk.unreadable = arrival % 3 == 0
        try:
            place = placement.add(index(uid, content, syntax=syntax), size, NOW)
        except OSError:
            failed += 1
            disk.unreadable = False
            place = placement.add(index(uid, content, syntax=syntax), size, NOW)
        assert place == undisturbed.add(index(uid, content, syntax=syntax), size, NOW)
    assert failed > 10
    assert list(placement.parts()) == list(undisturbed.parts())
    assert placement.identical_repeats == undisturbed.identical_repeats > 10


def test_the_json_of_a_part_in_pieces_is_that_of_the_whole() -> None:
    placement = Placement(FACTS)
    for number in range(3):
        placement.add(index(f"1.{number}", "one"), 10, datetime(2026, 11, 24, tzinfo=UTC))
    (part,) = placement.parts()
    empty = type(part)(association=part.association, edge=part.edge, part=part.part, entries=())
    for count in range(4):
        some = type(part)(association=part.association, edge=part.edge, part=part.part, entries=part.entries[:count])
        assert b"".join(part_json(empty, some.entries)) == to_json(some)
    assert isinstance(placement.add(index("1.9", "one"), 10, NOW), Place)
