"""Where each object of an association belongs: its S3 key, its part, whether it is a repeat, whether quarantined. Pure.

A function of the objects in order of arrival and of the limits that the association began with, nothing else: after a crash
the same keys and reasons come out again.

- Not readable, not what its command named, or larger than the limit: quarantined, in no part.
- Same SOP Instance UID, digest and transfer syntax as an earlier object: a repeat, kept once.
- Same SOP Instance UID, other content: kept, `~<digest[:12]>` in its name, in a later part than the earlier ones, so that
  it is imported after them and "newest wins" is defined.
- Otherwise the first part with room.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from contract.keys import instance_key, quarantine_key
from contract.manifest import AssociationManifest, Entry, Member, PartManifest, PartSummary, QuarantinedObject
from contract.uids import safe_name
from receiver.arrivals import from_microseconds, microseconds
from receiver.index import ObjectIndex
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


class _Record(NamedTuple):
    """An object in a part, as it is remembered: packed."""

    digest: bytes
    size_bytes: int
    received: int
    arrival: int
    part: int
    shared: int


_PACKED = struct.Struct("<32sQqIII")


@dataclass(slots=True)
class _Part:
    """SOP Instance UIDs that were new, and those that were not with what they name here."""

    new: list[str] = field(default_factory=list)
    others: list[tuple[str, bytes]] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def objects(self) -> int:
        return len(self.new) + len(self.others)


class Placement:
    """The objects of one association so far. Some 250 bytes each: of a hundred thousand, the manifests are made at the end."""

    def __init__(self, facts: StartFacts) -> None:
        self._facts = facts
        self._parts: list[_Part] = []
        self._first: dict[str, bytes] = {}  # by SOP Instance UID: what it named first
        self._others: dict[str, list[bytes]] = {}  # what it named later
        self._shared: dict[_Shared, int] = {}
        self._shared_by_number: list[_Shared] = []
        self._quarantined: dict[tuple[str, str, str], tuple[int, QuarantinedObject]] = {}  # by UID, digest, transfer syntax
        self._arrivals = 0
        self.identical_repeats = 0
        self.unchecked = 0

    def add(self, index: ObjectIndex, size_bytes: int, received_at: datetime) -> Place:
        """Where the next object belongs."""
        self._arrivals += 1
        self.unchecked += not index.checked
        if reason := index.fault or self._too_large(size_bytes):
            return self._quarantine(index, size_bytes, received_at, reason)
        uid, digest, after = index.sop_instance_uid, bytes.fromhex(index.digest), 0
        seen = [self._first[uid], *self._others.get(uid, ())] if uid in self._first else []
        for packed in seen:
            record = _Record._make(_PACKED.unpack(packed))
            after = record.part
            if (
                record.digest == digest
                and self._shared_by_number[record.shared].transfer_syntax_uid == index.transfer_syntax_uid
            ):
                self.identical_repeats += 1
                return Place(self._key(uid, record, supersedes=packed is not seen[0]), repeats=record.arrival)
        part = self._first_part_with_room(after=after, size_bytes=size_bytes)
        record = _Record(digest, size_bytes, microseconds(received_at), self._arrivals - 1, part, self._share(index))
        packed = _PACKED.pack(*record)
        self._parts[part - 1].size_bytes += size_bytes
        if seen:
            self._others.setdefault(uid, []).append(packed)
            self._parts[part - 1].others.append((uid, packed))
        else:
            self._first[uid] = packed
            self._parts[part - 1].new.append(uid)
        return Place(self._key(uid, record, supersedes=bool(seen)))

    def manifests(self, seal: Seal, members: tuple[Member, ...] = ()) -> tuple[AssociationManifest, Iterator[PartManifest]]:
        """The manifests of the association, which ended as `seal` says, or of `members` that share them.

        Those of the parts are made one by one.
        """
        facts = self._facts
        manifest = AssociationManifest(
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
        return manifest, map(self._part_manifest, range(1, len(self._parts) + 1))

    def _part_manifest(self, number: int) -> PartManifest:
        part = self._parts[number - 1]
        objects = [(_Record._make(_PACKED.unpack(self._first[uid])), uid, False) for uid in part.new]
        objects += [(_Record._make(_PACKED.unpack(packed)), uid, True) for uid, packed in part.others]
        objects.sort(key=lambda one: one[0].arrival)
        entries = tuple(self._entry(uid, record, supersedes=supersedes) for record, uid, supersedes in objects)
        return PartManifest(association=self._facts.association, edge=self._facts.edge, part=number, entries=entries)

    def _entry(self, uid: str, record: _Record, *, supersedes: bool) -> Entry:
        shared = self._shared_by_number[record.shared]
        return Entry(
            key=self._key(uid, record, supersedes=supersedes),
            size_bytes=record.size_bytes,
            digest=record.digest.hex(),
            sop_class_uid=shared.sop_class_uid,
            sop_instance_uid=uid,
            study_instance_uid=shared.study_instance_uid,
            series_instance_uid=shared.series_instance_uid,
            transfer_syntax_uid=shared.transfer_syntax_uid,
            received_at=from_microseconds(record.received),
            supersedes=supersedes,
        )

    def _key(self, uid: str, record: _Record, *, supersedes: bool) -> str:
        shared = self._shared_by_number[record.shared]
        return instance_key(
            edge=self._facts.edge,
            association=self._facts.association,
            part=record.part,
            study_uid=shared.study_instance_uid,
            series_uid=shared.series_instance_uid,
            sop_uid=uid,
            other_digest=record.digest.hex() if supersedes else "",
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
            self.identical_repeats += 1
            arrival, held = self._quarantined[content]
            return Place(held.key, repeats=arrival, quarantined=True)
        name = f"{self._arrivals:06d}-{safe_name(index.sop_instance_uid)}.dcm"
        held = QuarantinedObject(
            key=quarantine_key(self._facts.edge, self._facts.association, name),
            size_bytes=size_bytes,
            reason=reason,
            sop_class_uid=index.sop_class_uid,
            sop_instance_uid=index.sop_instance_uid,
            transfer_syntax_uid=index.transfer_syntax_uid,
            received_at=received_at,
        )
        self._quarantined[content] = self._arrivals - 1, held
        return Place(held.key, quarantined=True)

    def _first_part_with_room(self, *, after: int, size_bytes: int) -> int:
        for number in range(after + 1, len(self._parts) + 1):
            part = self._parts[number - 1]
            fits = part.size_bytes + size_bytes <= self._facts.part_max_bytes
            if fits and part.objects < self._facts.part_max_objects:
                return number
        self._parts.append(_Part())
        return len(self._parts)
