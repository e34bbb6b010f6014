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

from dataclasses import dataclass, field
from datetime import datetime

from contract.keys import instance_key, quarantine_key
from contract.manifest import AssociationManifest, Entry, Member, PartManifest, QuarantinedObject
from contract.uids import safe_name
from receiver.index import ObjectIndex
from receiver.spool import Seal, StartFacts


@dataclass(slots=True)
class _Part:
    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object belongs. A repeat has the key of the object that it repeats, and is not stored again."""

    key: str
    repeat: bool
    quarantined: bool = False


@dataclass(slots=True)
class _Instance:
    """What was seen of one SOP Instance UID."""

    last_part: int
    keys: dict[tuple[str, str], str]  # by digest and transfer syntax


class Placement:
    """The objects of one association so far."""

    def __init__(self, facts: StartFacts) -> None:
        self._facts = facts
        self._parts: list[_Part] = []
        self._instances: dict[str, _Instance] = {}
        self._quarantined: dict[tuple[str, str, str], QuarantinedObject] = {}  # by SOP Instance UID, digest, transfer syntax
        self._arrivals = 0
        self.identical_repeats = 0
        self.unchecked = 0

    def add(self, index: ObjectIndex, size_bytes: int, received_at: datetime) -> Place:
        """Where the next object belongs."""
        self._arrivals += 1
        self.unchecked += not index.checked
        if reason := index.fault or self._too_large(size_bytes):
            return self._quarantine(index, size_bytes, received_at, reason)
        content = (index.digest, index.transfer_syntax_uid)
        seen = self._instances.get(index.sop_instance_uid)
        if seen is not None and content in seen.keys:
            self.identical_repeats += 1
            return Place(seen.keys[content], repeat=True)
        number = self._first_part_with_room(after=seen.last_part if seen else 0, size_bytes=size_bytes)
        key = instance_key(
            edge=self._facts.edge,
            association=self._facts.association,
            part=number,
            study_uid=index.study_instance_uid,
            series_uid=index.series_instance_uid,
            sop_uid=index.sop_instance_uid,
            other_digest=index.digest if seen else "",
        )
        entry = Entry(
            key=key,
            size_bytes=size_bytes,
            digest=index.digest,
            sop_class_uid=index.sop_class_uid,
            sop_instance_uid=index.sop_instance_uid,
            study_instance_uid=index.study_instance_uid,
            series_instance_uid=index.series_instance_uid,
            transfer_syntax_uid=index.transfer_syntax_uid,
            received_at=received_at,
            supersedes=seen is not None,
        )
        part = self._parts[number - 1]
        part.entries.append(entry)
        part.size_bytes += size_bytes
        self._instances[index.sop_instance_uid] = _Instance(number, {content: key} | (seen.keys if seen else {}))
        return Place(key, repeat=False)

    def manifests(self, seal: Seal, members: tuple[Member, ...] = ()) -> tuple[AssociationManifest, list[PartManifest]]:
        """The manifests of the association, which ended as `seal` says, or of `members` that share them."""
        facts = self._facts
        parts = [
            PartManifest(association=facts.association, edge=facts.edge, part=number, entries=tuple(part.entries))
            for number, part in enumerate(self._parts, 1)
        ]
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
            parts=tuple(part.summary() for part in parts),
            quarantined=tuple(self._quarantined.values()),
            members=members if len(members) > 1 else (),
        )
        return manifest, parts

    def _too_large(self, size_bytes: int) -> str:
        limit = self._facts.object_max_bytes
        return f"larger than the limit of {limit} bytes (AHI_INGEST_OBJECT_MAX_BYTES)" if size_bytes > limit else ""

    def _quarantine(self, index: ObjectIndex, size_bytes: int, received_at: datetime, reason: str) -> Place:
        content = (index.sop_instance_uid, index.digest, index.transfer_syntax_uid)
        if content in self._quarantined:
            self.identical_repeats += 1
            return Place(self._quarantined[content].key, repeat=True, quarantined=True)
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
        self._quarantined[content] = held
        return Place(held.key, repeat=False, quarantined=True)

    def _first_part_with_room(self, *, after: int, size_bytes: int) -> int:
        for number in range(after + 1, len(self._parts) + 1):
            part = self._parts[number - 1]
            fits = part.size_bytes + size_bytes <= self._facts.part_max_bytes
            if fits and len(part.entries) < self._facts.part_max_objects:
                return number
        self._parts.append(_Part())
        return len(self._parts)
