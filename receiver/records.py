"""What is remembered of each object of an association until it is announced: some thirty bytes in memory, the rest on the disk.

Records are numbered from 0 in the order in which they come. The newest are held in memory, and with them what the disk does
not take. Two tables find what was sent before. They hold hashes of Python's own keyed kind, so that nobody can send UIDs that
collide, cut to 32 bits: a record that is found is read, and compared. Only UIDs that have several contents are in the second.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

HELD_BYTES = 64 * 1024
"""So much is held before it goes to the disk: some 500 records. Most associations have less."""

_BLOCK_BYTES = 8 * 1024
_FIRST_SLOTS = 64
_KEY_BITS, _KEY_MASK = 32, 0xFFFFFFFF
_PACKED = struct.Struct("<32sQqIIIIB")


class Record(NamedTuple):
    """An object in a part. `received` is in microseconds; `syntax` and `shared` are numbers of what other objects have too."""

    digest: bytes
    size_bytes: int
    received: int
    arrival: int
    part: int
    syntax: int
    shared: int
    supersedes: bool
    sop_instance_uid: str


class Scratch(Protocol):
    """Where the records go that are not held in memory."""

    def write(self, at: int, content: bytes) -> None:
        """Raises OSError; then it may be called again."""

    def read(self, at: int, size_bytes: int) -> bytes:
        """Raises OSError."""


class Records:
    """The records of one association."""

    def __init__(self, scratch: Scratch | None = None, *, hash_of: Callable[[Hashable], int] = hash) -> None:
        """Without `scratch` all are held in memory."""
        self._scratch, self._hash_of = scratch, hash_of
        self._ends = array("Q")  # where each record ends
        self._held, self._written = bytearray(), 0
        self._held_most = HELD_BYTES
        self._block, self._block_at = b"", 0  # what was read last: they are mostly read in their order
        self._by_uid, self._by_content = _Table(), _Table()

    def append(self, record: Record, *, before: int | None = None) -> int:
        """The next one, and its number; `before`, as `last_of` says, is the last one of its SOP Instance UID until now.

        Raises OSError, and then there is no next one.
        """
        number, last = len(self._ends), None if before is None else self[before]
        *values, uid = record
        self._held += _PACKED.pack(*values) + uid.encode("utf-8", "surrogatepass")
        self._ends.append(self._written + len(self._held))
        self._by_uid.add(self._key(uid), number, instead_of=before)
        if before is not None and last is not None:
            if not last.supersedes:  # it was the only one
                self._by_content.add(self._key(_content(last)), before)
            self._by_content.add(self._key(_content(record)), number)
        if self._scratch is not None and len(self._held) >= self._held_most:
            try:
                self._scratch.write(self._written, bytes(self._held))
            except OSError:
                self._held_most = len(self._held) + HELD_BYTES  # asked again then: nothing is lost by it but memory
            else:
                self._written += len(self._held)
                self._held, self._held_most = bytearray(), HELD_BYTES
        return number

    def __getitem__(self, number: int) -> Record:
        """Raises OSError."""
        raw = self._read(self._ends[number - 1] if number else 0, self._ends[number])
        digest, size_bytes, received, arrival, part, syntax, shared, supersedes = _PACKED.unpack_from(raw)
        uid = raw[_PACKED.size :].decode("utf-8", "surrogatepass")
        return Record(digest, size_bytes, received, arrival, part, syntax, shared, bool(supersedes), uid)

    def last_of(self, uid: str) -> int | None:
        """The number of the last one of a SOP Instance UID. Raises OSError."""
        return self._by_uid.find(self._key(uid), lambda number: self[number].sop_instance_uid == uid)

    def same_as(self, uid: str, digest: bytes, syntax: int) -> Record | None:
        """The one of the same content. Raises OSError."""
        content = uid, digest, syntax
        number = self.last_of(uid)
        if number is not None and (last := self[number]).supersedes and _content(last) != content:
            number = self._by_content.find(self._key(content), lambda its: _content(self[its]) == content)
        return record if number is not None and _content(record := self[number]) == content else None

    def _key(self, value: Hashable) -> int:
        return self._hash_of(value) & _KEY_MASK

    def _read(self, begin: int, end: int) -> bytes:
        if begin >= self._written:
            return bytes(self._held[begin - self._written : end - self._written])
        assert self._scratch is not None  # noqa: S101 - it was written
        if not (self._block_at <= begin and end <= self._block_at + len(self._block)):
            self._block = self._scratch.read(begin, min(max(end - begin, _BLOCK_BYTES), self._written - begin))
            self._block_at = begin
        return self._block[begin - self._block_at : end - self._block_at]


def _content(record: Record) -> tuple[str, bytes, int]:
    """What makes it a repeat of another."""
    return record.sop_instance_uid, record.digest, record.syntax


class _Table:
    """Numbers of records by a key of 32 bits: open addressing, 10 to 20 bytes for each."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))  # the key, and a record's number and one more; 0 for none
        self._used = 0

    def find(self, key: int, is_it: Callable[[int], bool]) -> int | None:
        """The number of a record with the key of which `is_it` says that it is the one."""
        at = key % len(self._slots)
        while held := self._slots[at]:
            number = (held & _KEY_MASK) - 1
            if held >> _KEY_BITS == key and is_it(number):
                return number
            at = (at + 1) % len(self._slots)
        return None

    def add(self, key: int, number: int, *, instead_of: int | None = None) -> None:
        """One more record, or one in the place of another with the same key."""
        if instead_of is None:
            self._used += 1
            if 5 * self._used > 4 * len(self._slots):
                slots, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
                for held in filter(None, slots):
                    self._put(held, 0)
        self._put(_slot(key, number), 0 if instead_of is None else _slot(key, instead_of))

    def _put(self, held: int, instead_of: int) -> None:
        at = (held >> _KEY_BITS) % len(self._slots)
        while self._slots[at] != instead_of:
            at = (at + 1) % len(self._slots)
        self._slots[at] = held


def _slot(key: int, number: int) -> int:
    return key << _KEY_BITS | number + 1
