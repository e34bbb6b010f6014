"""What is remembered of each object of an association until it is announced: some thirty bytes in memory, the rest on the disk.

Records are numbered from 0 in the order in which they come. The newest are held in memory, and with them what the disk does
not take. Two tables find what was sent before. They hold hashes of Python's own keyed kind, so that nobody can send UIDs that
collide, cut to 32 bits: a record that is found is read, and compared.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

HELD_BYTES = 64 * 1024
"""So much is held before it goes to the disk: some 500 records. Most associations have less."""

_FIRST_SLOTS = 64
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
        """The next one, and its number; `before`, as `last_of` says, is the last one of its SOP Instance UID until now."""
        *values, uid = record
        self._held += _PACKED.pack(*values) + uid.encode("utf-8", "surrogatepass")
        self._ends.append(self._written + len(self._held))
        self._by_uid.add(self._key(uid), instead_of=before)
        self._by_content.add(self._key((uid, record.digest, record.syntax)))
        if self._scratch is not None and len(self._held) >= self._held_most:
            try:
                self._scratch.write(self._written, bytes(self._held))
            except OSError:
                self._held_most = len(self._held) + HELD_BYTES  # asked again then: nothing is lost by it but memory
            else:
                self._written += len(self._held)
                self._held, self._held_most = bytearray(), HELD_BYTES
        return len(self._ends) - 1

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

        def is_same(number: int) -> bool:
            record = self[number]
            return (record.sop_instance_uid, record.digest, record.syntax) == (uid, digest, syntax)

        number = self._by_content.find(self._key((uid, digest, syntax)), is_same)
        return None if number is None else self[number]

    def _key(self, value: Hashable) -> int:
        return self._hash_of(value) & 0xFFFFFFFF

    def _read(self, begin: int, end: int) -> bytes:
        if begin >= self._written:
            return bytes(self._held[begin - self._written : end - self._written])
        assert self._scratch is not None  # noqa: S101 - it was written
        if not (self._block_at <= begin and end <= self._block_at + len(self._block)):
            self._block = self._scratch.read(begin, min(max(end - begin, HELD_BYTES), self._written - begin))
            self._block_at = begin
        return self._block[begin - self._block_at : end - self._block_at]


class _Table:
    """Numbers of records by a key of 32 bits: open addressing, 10 to 16 bytes a record."""

    def __init__(self) -> None:
        self._keys = array("I")  # of each record
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # a record's number and one more; 0 for none
        self._used = 0

    def find(self, key: int, is_it: Callable[[int], bool]) -> int | None:
        """The number of a record with the key of which `is_it` says that it is the one."""
        at = key % len(self._slots)
        while held := self._slots[at]:
            if self._keys[held - 1] == key and is_it(held - 1):
                return held - 1
            at = (at + 1) % len(self._slots)
        return None

    def add(self, key: int, *, instead_of: int | None = None) -> None:
        """The next record, or in the place of one that has the same key."""
        self._keys.append(key)
        if instead_of is None:
            self._used += 1
            if 3 * self._used > 2 * len(self._slots):
                self._grow()
        self._put(len(self._keys), 0 if instead_of is None else instead_of + 1)

    def _put(self, held: int, instead_of: int) -> None:
        at = self._keys[held - 1] % len(self._slots)
        while self._slots[at] != instead_of:
            at = (at + 1) % len(self._slots)
        self._slots[at] = held

    def _grow(self) -> None:
        slots, self._slots = self._slots, array("I", bytes(8 * len(self._slots)))
        for held in filter(None, slots):
            self._put(held, 0)
