"""One association's folder, and the objects that are written into it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from contract import Ending
from contract.manifest import AssociationManifest, Member
from contract.strict import ContractError, from_json, to_json
from receiver.filesystem import Chunk, FileSystem
from receiver.spool.boot import Boot
from receiver.spool.documents import Seal, StartFacts
from receiver.spool.durable import TEMPORARY, remove_tree, write_file
from receiver.spool.leftover import Leftover
from receiver.spool.members import Members, read_members
from receiver.spool.scratch import Scratch

_OBJECT_NAME = re.compile(r"([0-9]{6,})-([0-9]{8}T[0-9]{6})([0-9]{3})Z\.dcm", re.ASCII)
_UNACKNOWLEDGED = ".unacknowledged"
REMOVED = "removed-"


class SpoolBrokenError(OSError):
    """An fsync failed on the association's folder earlier: it takes no more objects."""


class StoredObject(NamedTuple):
    """An object that is durable in the spool, in its association's folder."""

    number: int
    folder: Path
    name: str
    size_bytes: int
    received_at: datetime
    unacknowledged: bool = False

    @property
    def path(self) -> Path:
        return self.folder / self.name


class ObjectWriter:
    """An object that is arriving. One of `commit` and `discard` ends it; after an error it is discarded already."""

    def __init__(
        self, folder: AssociationFolder, number: int, file: int, temporary: str, *, old_bytes: int, head: bytes
    ) -> None:
        """`old_bytes` of other content are in the file, to be written over; `head` comes first."""
        self._folder, self._files, self._old_bytes = folder, folder.files, old_bytes
        self._number, self._file, self._name = number, file, temporary
        self._head: bytes | None = head  # until it is written, in one go with what comes first
        self._size_bytes = 0

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Append the chunks. Raises OSError."""
        if self._head is not None:
            chunks, self._head = [self._head, *chunks], None
        try:
            self._size_bytes += self._files.write(self._file, chunks)
        except OSError:
            self.discard()
            raise

    def commit(self) -> StoredObject:
        """Make the object durable: when this returns, it may be acknowledged. Raises OSError."""
        if self._head is not None:
            self.write(())
        received_at = self._folder.now()
        name = object_name(self._number, received_at)
        try:
            if self._old_bytes > self._size_bytes:
                self._files.cut(self._file, self._size_bytes)
            self._files.sync_file(self._file)
            self._close()
            self._files.rename(self._folder.path, self._name, name)
            self._name = name
            self._folder.sync()
        except OSError:
            self.discard()
            raise
        self._folder.expect(self._size_bytes)
        return StoredObject(self._number, self._folder.path, name, self._size_bytes, received_at)

    def discard(self) -> None:
        """Forget the object; what cannot be removed now is removed, or never acknowledged, at the next start."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._files.remove_file(self._folder.path / self._name)

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            self._files.close(file)


class AssociationFolder:
    """One association in the spool, or several that follow each other. Nothing is on the disk before its first object.

    Written by one thread at a time.
    """

    def __init__(
        self,
        boot: Boot,
        facts: StartFacts,
        *,
        next_sequence: Callable[[], int],
        now: Callable[[], datetime],
        name: str = "",
    ) -> None:
        """`name`: of the folder that a dead process left, whose facts are not read yet."""
        self.facts, self.files, self.now = facts, boot.files, now
        self.path = boot.path / (name or facts.association)
        self.sealed: Seal | None = None
        self._boot, self._next_sequence = boot, next_sequence
        self._made, self._broken = bool(name), False
        self._begun = 0
        self._expected_bytes = boot.recycled.usual_bytes
        self._members = Members(self.files, facts)

    @property
    def broken(self) -> bool:
        """Whether it takes no more objects."""
        return self._broken

    @property
    def made(self) -> bool:
        """Whether anything is on the disk."""
        return self._made

    def begin_object(self, head: bytes) -> ObjectWriter:
        """A new object, `head` its first bytes. Raises OSError."""
        if self._broken:
            raise SpoolBrokenError("this association's folder failed to sync; the sender should try again in a new one")
        if not self._made:
            self._make()
        self._members.write_start(self.path)
        self._begun += 1
        temporary = f"{self._begun:06d}{TEMPORARY}"
        recycled = self._boot.recycled.take(self.path, temporary, self._expected_bytes)
        file, old_bytes = recycled or (self.files.create(self.path, temporary), 0)
        return ObjectWriter(self, self._begun, file, temporary, old_bytes=old_bytes, head=head)

    def expect(self, size_bytes: int) -> None:
        """What an object had, the next ones are expected to have."""
        self._expected_bytes = self._boot.recycled.usual_bytes = size_bytes

    def mark_unacknowledged(self, stored: StoredObject) -> None:
        """Keep that an object, though it is durable, was not answered 0x0000. Raises OSError."""
        self.files.close(self.files.create(self.path, f"{stored.number:06d}{_UNACKNOWLEDGED}"))
        self.sync()

    def sync(self) -> None:
        """Make the folder's names durable. Raises OSError; then the folder takes no more objects."""
        try:
            self.files.sync_folder(self.path)
        except OSError:
            self._broken = True
            raise

    def begin_member(self, association: str, started_at: datetime) -> None:
        """Another association goes on in this folder. Nothing is written before its first object."""
        self._members.begin(association, started_at, self._begun + 1)

    def end_member(self, ending: Ending, ended_at: datetime) -> None:
        """Keep how the association that was the last to go on here ended. Raises OSError; then `seal` tries again."""
        self._members.end(self.path, ending, ended_at)

    def members(self, sealed_at: datetime) -> tuple[Member, ...]:
        """The associations whose objects are here; empty when they do not share the folder. Raises OSError, ContractError."""
        if not self._has("member-1-ended.json"):
            return ()
        names = self.files.names(self.path)
        return read_members(self._read, names, self.facts, [stored.number for stored in self.objects()], sealed_at)

    def seal(self, ending: Ending, ended_at: datetime) -> None:
        """Take no more objects, and keep how the association ended. Raises OSError; then it may be called again."""
        if self.sealed is None:
            self._members.write_end(self.path)
            seal = Seal(ending=ending, ended_at=ended_at, sequence=self._next_sequence())
            write_file(self.files, self.path, "sealed.json", to_json(seal))
            self.files.sync_folder(self.path)
            self.sealed = seal

    def objects(self) -> list[StoredObject]:
        """The objects in order of arrival, as the folder holds them. Raises OSError."""
        return stored_objects(self.files, self.path)

    def scratch(self) -> Scratch:
        """A file for what need not stay in memory."""
        return Scratch(self.files, lambda: self.path)

    def keep_manifests(self, manifest: AssociationManifest, parts: Iterable[Iterable[bytes]]) -> None:
        """Keep what will be announced, once every object is in S3; `parts` are JSON in pieces. Raises OSError."""
        for number, part in enumerate(parts, 1):
            write_file(self.files, self.path, self.kept_part(number).name, part)
        write_file(self.files, self.path, "manifest.json", to_json(manifest))
        self.files.sync_folder(self.path)

    def has_manifest(self) -> bool:
        """Whether the manifest is kept, and with it those of all parts. Raises OSError."""
        return self._has("manifest.json")

    def kept_manifest(self) -> AssociationManifest | None:
        """The manifest; None while none is kept. Raises OSError, ContractError."""
        return from_json(AssociationManifest, self.kept_bytes()) if self.has_manifest() else None

    def kept_bytes(self) -> bytes:
        """The kept manifest as it is. Raises OSError."""
        return self._read("manifest.json")

    def kept_part(self, part: int) -> Path:
        """The file of the kept manifest of a part."""
        return self.path / f"part-{part}.json"

    def remove(self) -> None:
        """Remove the folder, which holds nothing that is still needed. Raises OSError; then it may be called again."""
        if self._made:
            if not self.path.name.startswith(REMOVED):
                removed = REMOVED + self.path.name
                self.files.rename(self._boot.path, self.path.name, removed)
                self.path = self._boot.path / removed
            self.files.sync_folder(self._boot.path)  # before anything in it goes: half a folder is not to be recovered
            remove_tree(self.files, self.path, keep=self._recycle)
            self._made = False
        self._boot.forget(self.facts.association)

    def _recycle(self, path: Path) -> None:
        if _OBJECT_NAME.fullmatch(path.name):
            self._boot.recycled.keep(path)

    def _make(self) -> None:
        self._broken = True  # unless all of this succeeds: a folder's failed sync is not tried again
        self.files.make_folder(self.path)
        self._made = True
        write_file(self.files, self.path, "association.json", to_json(self.facts))
        self.files.sync_folder(self._boot.path)  # association.json's own name is synced with the first object's
        self._broken = False

    def _has(self, name: str) -> bool:
        try:
            self.files.size(self.path / name)
        except FileNotFoundError:
            return False
        return True

    def _read(self, name: str) -> bytes:
        with self.files.open(self.path / name) as file:
            return file.read()

    def read_leftover(self) -> Leftover:
        """Read what a dead process left here, without its temporary files, and say what it is.

        Raises OSError, and ContractError when a document cannot be read.
        """
        self.files.sync_folder(self.path)  # it may have died between a rename and its sync
        names = self.files.names(self.path)
        if self.path.name.startswith(REMOVED):
            return Leftover.BEING_REMOVED
        for name in names:
            if name.endswith(TEMPORARY):
                self.files.remove_file(self.path / name)
        with contextlib.suppress(FileNotFoundError, ContractError):
            self.facts = from_json(StartFacts, self._read("association.json"))
        if "sealed.json" in names:
            self.sealed = from_json(Seal, self._read("sealed.json"))
            return Leftover.MANIFEST_KEPT if "manifest.json" in names else Leftover.SEALED
        if not self.objects():
            return Leftover.NOTHING_STORED
        members = self.members(self.now())
        return Leftover.BETWEEN_MEMBERS if members and members[-1].ending is not Ending.RECOVERED else Leftover.NOT_ENDED


def object_name(number: int, received_at: datetime) -> str:
    """As `_OBJECT_NAME` reads it."""
    at = received_at
    return "%06d-%04d%02d%02dT%02d%02d%02d%03dZ.dcm" % (  # noqa: UP031 - a third of the time of an f-string or strftime
        number,
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        at.microsecond // 1000,
    )


def count_objects(files: FileSystem, folder: Path) -> int:
    """How many objects are in an association's folder, by their names. Raises OSError."""
    return sum(_OBJECT_NAME.fullmatch(name) is not None for name in files.names(folder))


def stored_objects(files: FileSystem, folder: Path) -> list[StoredObject]:
    """The objects in an association's folder, in order of arrival. Raises OSError."""
    names, found = set(files.names(folder)), []
    for name in names:
        if match := _OBJECT_NAME.fullmatch(name):
            number, seconds, milliseconds = match.groups()
            received_at = datetime.strptime(seconds, "%Y%m%dT%H%M%S").replace(microsecond=int(milliseconds) * 1000, tzinfo=UTC)
            unacknowledged, size = f"{number}{_UNACKNOWLEDGED}" in names, files.size(folder / name)
            found.append(StoredObject(int(number), folder, name, size, received_at, unacknowledged))
    return sorted(found)
