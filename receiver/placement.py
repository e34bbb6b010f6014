"""Where each object of an association belongs: its S3 key, its part, whether it is a repeat, whether quarantined.

A function of the objects in order of arrival and of the limits that the association began with, nothing else: after a crash
the same keys and reasons come out again.

- Not readable, not what its command named, or larger than the limit: quarantined, in no part.
- Same SOP Instance UID, digest and transfer syntax as an earlier object: a repeat, kept once.
- Same SOP Instance UID, other content: kept, `~<digest[:12]>` in its name, in a later part than the earlier ones, so that
  it is imported after them and "newest wins" is defined.
- Otherwise the first part with room.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from contract.keys import instance_key, quarantine_key
from contract.manifest import AssociationManifest, Entry, Member, PartManifest, PartSummary, QuarantinedObject, part_json
from contract.uids import safe_name
from receiver.arrivals import from_microseconds, microseconds
from receiver.index import ObjectIndex
from receiver.records import Record, Records, Scratch
from receiver.spool import Seal, StartFacts


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object belongs. A repeat has the key of the object that it repeats, and is not stored again."""

    key: str
    repeats: int | None = None
    """The number of arrival, from 0, of what it repeats."""
    quarantined: bool = False

    @property
    def repeat(self) -> bool:
        return self.repeats is not None


class _Shared(NamedTuple):
    """What most objects of an association have in common."""

    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str


@dataclass(slots=True)
class _Part:
    """`records` are numbers of records, in order of arrival."""

    records: array[int] = field(default_factory=lambda: array("I"))
    size_bytes: int = 0

    @property
    def objects(self) -> int:
        return len(self.records)


class Placement:
    """The objects of one association so far: some 40 bytes of memory each, where there is `scratch`."""

    def __init__(self, facts: StartFacts, scratch: Scratch | None = None) -> None:
        self._facts = facts
        self._parts: list[_Part] = []
        self._records = Records(scratch)
        self._shared: dict[_Shared, int] = {}
        self._shared_by_number: list[_Shared] = []
        self._syntaxes: dict[str, int] = {}
        self._quarantined: dict[tuple[str, str, str], tuple[int, QuarantinedObject]] = {}  # by UID, digest, transfer syntax
        self._arrivals = 0
        self.identical_repeats = 0
        self.unchecked = 0

    def add(self, index: ObjectIndex, size_bytes: int, received_at: datetime) -> Place:
        """Where the next object belongs. Raises OSError; then it may be called again."""
        if reason := index.fault or self._too_large(size_bytes):
            place = self._quarantine(index, size_bytes, received_at, reason)
        else:
            place = self._place(index, size_bytes, received_at)
        self._arrivals += 1
        self.unchecked += not index.checked
        self.identical_repeats += place.repeat
        return place

    def _place(self, index: ObjectIndex, size_bytes: int, received_at: datetime) -> Place:
        uid, digest = index.sop_instance_uid, bytes.fromhex(index.digest)
        syntax = self._syntaxes.setdefault(index.transfer_syntax_uid, len(self._syntaxes))
        if same := self._records.same_as(uid, digest, syntax):
            return Place(self._key(same), repeats=same.arrival)
        before = self._records.last_of(uid)
        part = self._first_part_with_room(after=0 if before is None else self._records[before].part, size_bytes=size_bytes)
        record = Record(
            digest=digest,
            size_bytes=size_bytes,
            received=microseconds(received_at),
            arrival=self._arrivals,
            part=part,
            syntax=syntax,
            shared=self._share(index),
            supersedes=before is not None,
            sop_instance_uid=uid,
        )
        number = self._records.append(record, before=before)
        self._parts[part - 1].records.append(number)
        self._parts[part - 1].size_bytes += size_bytes
        return Place(self._key(record))

    def manifest(self, seal: Seal, members: tuple[Member, ...] = ()) -> AssociationManifest:
        """The manifest of the association, which ended as `seal` says, or of `members` that share it."""
        facts = self._facts
        return AssociationManifest(
            association=facts.association,
            edge=facts.edge,
            sequence=seal.sequence,
            calling_ae=facts.calling_ae,
            called_ae=facts.called_ae,
            peer=facts.peer,
            started_at=facts.started_at,
            ended_at=seal.ended_at,
            ending=seal.ending,
            identical_repeats=self.identical_repeats,
            parts=tuple(
                PartSummary(part=number, objects=part.objects, size_bytes=part.size_bytes)
                for number, part in enumerate(self._parts, 1)
            ),
            quarantined=tuple(held for _, held in self._quarantined.values()),
            members=members if len(members) > 1 else (),
        )

    def parts(self) -> Iterator[PartManifest]:
        """The manifests of the parts, one by one. Raises OSError."""
        for number, part in enumerate(self._parts, 1):
            yield replace(self._empty(number), entries=tuple(self._entries(part)))

    def parts_json(self) -> Iterator[Iterator[bytes]]:
        """The same as JSON, in pieces of an object each: a whole part would take 15 MB. Raises OSError."""
        for number, part in enumerate(self._parts, 1):
            yield part_json(self._empty(number), self._entries(part))

    def _empty(self, number: int) -> PartManifest:
        return PartManifest(association=self._facts.association, edge=self._facts.edge, part=number, entries=())

    def _entries(self, part: _Part) -> Iterator[Entry]:
        return (self._entry(self._records[number]) for number in part.records)

    def _entry(self, record: Record) -> Entry:
        shared = self._shared_by_number[record.shared]
        return Entry(
            key=self._key(record),
            size_bytes=record.size_bytes,
            digest=record.digest.hex(),
            sop_class_uid=shared.sop_class_uid,
            sop_instance_uid=record.sop_instance_uid,
            study_instance_uid=shared.study_instance_uid,
            series_instance_uid=shared.series_instance_uid,
            transfer_syntax_uid=shared.transfer_syntax_uid,
            received_at=from_microseconds(record.received),
            supersedes=record.supersedes,
        )

    def _key(self, record: Record) -> str:
        shared = self._shared_by_number[record.shared]
        return instance_key(
            edge=self._facts.edge,
            association=self._facts.association,
            part=record.part,
            study_uid=shared.study_instance_uid,
            series_uid=shared.series_instance_uid,
            sop_uid=record.sop_instance_uid,
            other_digest=record.digest.hex() if record.supersedes else "",
        )

    def _share(self, index: ObjectIndex) -> int:
        shared = _Shared(index.sop_class_uid, index.study_instance_uid, index.series_instance_uid, index.transfer_syntax_uid)
        number = self._shared.setdefault(shared, len(self._shared_by_number))
        if number == len(self._shared_by_number):
            self._shared_by_number.append(shared)
        return number

    def _too_large(self, size_bytes: int) -> str:
        limit = self._facts.object_max_bytes
        return f"larger than the limit of {limit} bytes (AHI_INGEST_OBJECT_MAX_BYTES)" if size_bytes > limit else ""

    def _quarantine(self, index: ObjectIndex, size_bytes: int, received_at: datetime, reason: str) -> Place:
        content = (index.sop_instance_uid, index.digest, index.transfer_syntax_uid)
        if content in self._quarantined:
            arrival, held = self._quarantined[content]
            return Place(held.key, repeats=arrival, quarantined=True)
        name = f"{self._arrivals + 1:06d}-{safe_name(index.sop_instance_uid)}.dcm"
        held = QuarantinedObject(
            key=quarantine_key(self._facts.edge, self._facts.association, name),
            size_bytes=size_bytes,
            reason=reason,
            sop_class_uid=index.sop_class_uid,
            sop_instance_uid=index.sop_instance_uid,
            transfer_syntax_uid=index.transfer_syntax_uid,
            received_at=received_at,
        )
        self._quarantined[content] = self._arrivals, held
        return Place(held.key, quarantined=True)

    def _first_part_with_room(self, *, after: int, size_bytes: int) -> int:
        for number in range(after + 1, len(self._parts) + 1):
            part = self._parts[number - 1]
            fits = part.size_bytes + size_bytes <= self._facts.part_max_bytes
            if fits and part.objects < self._facts.part_max_objects:
                return number
        self._parts.append(_Part())
        return len(self._parts)
