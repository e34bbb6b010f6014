"""The manifest of an association: what the receiver acknowledged, and where it is in S3.

`manifest.json` has the association: who, when, how it ended, its parts and what was quarantined. `<part>.json` lists the
objects of one part. A part is at most one import job (HealthImaging's limits), so nearly every association has one.
Both are written once, before the message is sent, and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from contract.association import Ending, check_association_id, check_edge_id
from contract.strict import OPTIONAL, ContractError, to_json

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSummary:
    """One part: its number from 1, how many objects and how many bytes (whole Part 10 files) stand under its prefix."""

    part: int
    objects: int
    size_bytes: int

    def __post_init__(self) -> None:
        _at_least("part", self.part, 1)
        _at_least("objects", self.objects, 1)
        _at_least("size_bytes", self.size_bytes, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedObject:
    """An object that was acknowledged and must not be imported, and why. UIDs are the raw values, empty when unknown."""

    key: str
    size_bytes: int
    reason: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of several DIMSE associations that share a manifest. `objects` counts what it brought, repeats and all.

    They followed each other, so that an object belongs to the one between whose times it was received.
    """

    association: str
    started_at: datetime
    ended_at: datetime
    ending: Ending
    objects: int

    def __post_init__(self) -> None:
        check_association_id(self.association)
        _at_least("objects", self.objects, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationManifest:
    """An association. `sequence` is the edge's counter; `identical_repeats` counts objects that were sent again unchanged.

    `members`: when several associations share it, all of them in order, the first of which gave it its id. `ending` is then
    `released` if each was, and otherwise that of the last that was not.
    """

    VERSION: ClassVar[int] = 1

    version: int = 1
    association: str
    edge: str
    sequence: int
    calling_ae: str
    called_ae: str
    peer: str
    started_at: datetime
    ended_at: datetime
    ending: Ending
    identical_repeats: int
    parts: tuple[PartSummary, ...]
    quarantined: tuple[QuarantinedObject, ...]
    members: tuple[Member, ...] = field(default=(), metadata=OPTIONAL)

    def __post_init__(self) -> None:
        check_association_id(self.association)
        check_edge_id(self.edge)
        _at_least("sequence", self.sequence, 0)
        _at_least("identical_repeats", self.identical_repeats, 0)
        if [summary.part for summary in self.parts] != list(range(1, len(self.parts) + 1)):
            raise ContractError("parts: expected the numbers 1, 2, 3 and so on, in order")
        if self.members and self.members[0].association != self.association:
            raise ContractError("members: expected the association itself first")

    @property
    def objects(self) -> int:
        """How many objects are to be imported."""
        return sum(summary.objects for summary in self.parts)

    @property
    def size_bytes(self) -> int:
        """The size of all objects, quarantined ones too."""
        return sum(part.size_bytes for part in self.parts) + sum(one.size_bytes for one in self.quarantined)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object of a part.

    `size_bytes` is the Part 10 file's; `digest` the SHA-256 (hex) of the data set as it was on the wire, without preamble
    and file meta. UIDs are the raw values, empty when absent. `supersedes` is true when the same SOP Instance UID was sent
    before in this association with other content.
    """

    key: str
    size_bytes: int
    digest: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    received_at: datetime
    supersedes: bool

    def __post_init__(self) -> None:
        _at_least("size_bytes", self.size_bytes, 0)
        if _DIGEST.fullmatch(self.digest) is None:
            raise ContractError("digest: expected a SHA-256 in 64 hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartManifest:
    """The objects of one part, in the order of arrival."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    association: str
    edge: str
    part: int
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        check_association_id(self.association)
        check_edge_id(self.edge)
        _at_least("part", self.part, 1)

    def summary(self) -> PartSummary:
        """This part, as the association's manifest lists it."""
        size_bytes = sum(entry.size_bytes for entry in self.entries)
        return PartSummary(part=self.part, objects=len(self.entries), size_bytes=size_bytes)


def part_json(part: PartManifest, entries: Iterable[Entry]) -> Iterator[bytes]:
    """The JSON of a part with these entries in the place of its own, which are none, in pieces: it may be large."""
    before, after = to_json(part)[:-2], b"]}"
    yield before
    separator = b""
    for entry in entries:
        yield separator + to_json(entry)
        separator = b","
    yield after


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ContractError(f"{name}: expected at least {least}")
