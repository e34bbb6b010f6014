"""What has arrived of one association, in a few bytes an object: a hundred thousand may wait for S3 to come back."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver.spool import StoredObject
from receiver.spool.folder import object_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrivals:
    """The objects in order of arrival, by number from 0, and which of them S3 has. Guarded by its owner."""

    def __init__(self) -> None:
        self._numbers, self._sizes, self._received = array("I"), array("Q"), array("q")
        self._in_s3 = bytearray()
        self._oldest = 0  # no earlier one is missing in S3

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, stored: StoredObject) -> None:
        self._numbers.append(stored.number)
        self._sizes.append(stored.size_bytes)
        self._received.append(microseconds(stored.received_at))
        self._in_s3.append(False)

    def stored(self, arrival: int, folder: Path) -> StoredObject:
        """The object, which is in the association's folder."""
        number, received_at = self._numbers[arrival], self.received_at(arrival)
        return StoredObject(number, folder, object_name(number, received_at), self._sizes[arrival], received_at)

    def received_at(self, arrival: int) -> datetime:
        return from_microseconds(self._received[arrival])

    def is_in_s3(self, arrival: int) -> bool:
        return bool(self._in_s3[arrival])

    def is_now_in_s3(self, arrival: int) -> None:
        self._in_s3[arrival] = True

    @property
    def first_in_s3(self) -> int:
        """So many of the first are all in S3."""
        self._oldest = self._in_s3.find(False, self._oldest) % (len(self) + 1)  # -1: past the last
        return self._oldest

    @property
    def oldest_received_at(self) -> datetime | None:
        """When the oldest object arrived that is not in S3; None when all are."""
        return self.received_at(oldest) if (oldest := self.first_in_s3) < len(self) else None


def microseconds(at: datetime) -> int:
    """A time as a number."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(number: int) -> datetime:
    """The time of a number."""
    return _EPOCH + timedelta(microseconds=number)
