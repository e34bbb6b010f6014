"""The spool: where an acknowledged object lives until it is in S3. The one module that writes durably.

Format
    <spool>/lock                                   held (flock) by the one receiver of this spool, whatever its workers
    <spool>/sequence                               the last sequence number that was given to an association
    <spool>/sequence.lock                          held (flock) while a worker takes the next one
    <spool>/out/<boot id>/lock                     held (flock) by the process that owns the folder
    <spool>/out/<boot id>/<association id>/
        association.json                           who opened it, when; the limits of a part and of an object
        000001.tmp                                 an object that is arriving
        000001-20261124T021501123Z.dcm             an object: its number in order of arrival, when it was durable
        000001.unacknowledged                      empty: the object of this number was answered 0xA700, though it is kept
        sealed.json                                how and when the association ended, its sequence number
        manifest.json, part-1.json ...             what is announced; present once every object is in S3
    <spool>/out/<boot id>/removed-<association id>/   announced; being removed

Invariants
    - A name ending in `.dcm` or `.json` holds its whole content durably: data is synced before the rename gives the name.
    - An object that was answered 0x0000 is durable: its data, its name, and every folder above it. Not each that is durable
      was answered so: the process may have died before, or S3 did not confirm it in time, which a mark says.
    - Objects are numbered in order of arrival. S3 keys, parts, what is a repeat, and what is quarantined and why follow from
      the objects in this order and from association.json alone (receiver/placement.py), so that a crash changes none of it.
    - A folder is written by the holder of its boot folder's lock only. The kernel drops the lock with the process, so that a
      worker never touches what a sibling still fills, and takes over what a dead one left.
    - What is sealed takes no more objects. A sequence number is given once.
    - What an fsync failed on is never synced again: the file is discarded; a folder that failed takes no more objects.

Order, and what a crash leaves (each has its branch in `_adopt`)
    1 make the folder, association.json, sync the boot folder     -> nothing acknowledged: removed
    2 write NNNNNN.tmp, fdatasync, rename, sync the folder, 0x0000    -> temporary files removed, objects kept
    3 the association ends: sequence synced, sealed.json synced   -> unsealed: sealed now, as `recovered`
    4 every object PUT                                            -> sealed, no manifest: PUT again
    5 part-N.json, manifest.json, sync; PUT; SendMessage          -> manifest: PUT and sent again, the same bytes
    6 rename to removed-..., sync, remove                         -> removal goes on
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from contract import Ending, new_association_id
from contract.manifest import AssociationManifest, PartManifest
from contract.strict import ContractError, from_json, to_json, utc_now
from receiver.filesystem import Chunk, FileSystem

_OBJECT_NAME = re.compile(r"([0-9]{6,})-([0-9]{8}T[0-9]{6})([0-9]{3})Z\.dcm", re.ASCII)
_PART_NAME = re.compile(r"part-([0-9]+)\.json", re.ASCII)
_TEMPORARY, _UNACKNOWLEDGED = ".tmp", ".unacknowledged"
_REMOVED = "removed-"


class SpoolInUseError(Exception):
    """Another receiver owns the spool. The text says what to do."""


class SpoolBrokenError(OSError):
    """An fsync failed on the association's folder earlier: it takes no more objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """association.json. The limits are kept, since where an object belongs must not change with a setting."""

    VERSION: ClassVar[int] = 2

    version: int = 2
    association: str
    edge: str
    calling_ae: str
    called_ae: str
    peer: str
    started_at: datetime
    part_max_objects: int
    part_max_bytes: int
    object_max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """sealed.json."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    ending: Ending
    ended_at: datetime
    sequence: int


@dataclass(frozen=True, slots=True, order=True)
class StoredObject:
    """An object that is durable in the spool."""

    number: int
    path: Path
    size_bytes: int
    received_at: datetime
    unacknowledged: bool = False


class ObjectWriter:
    """An object that is arriving. One of `commit` and `discard` ends it; after an error it is discarded already."""

    def __init__(self, folder: AssociationFolder, number: int, file: int, temporary: Path) -> None:
        self._folder, self._files = folder, folder.files
        self._number, self._file, self._path = number, file, temporary
        self._size_bytes = 0

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Append the chunks. Raises OSError."""
        try:
            self._files.write(self._file, chunks)
        except OSError:
            self.discard()
            raise
        self._size_bytes += sum(map(len, chunks))

    def commit(self) -> StoredObject:
        """Make the object durable: when this returns, it may be acknowledged. Raises OSError."""
        received_at = self._folder.now()
        name = f"{self._number:06d}-{received_at:%Y%m%dT%H%M%S}{received_at.microsecond // 1000:03d}Z.dcm"
        try:
            self._files.sync_file(self._file)
            self._close()
            self._files.rename(self._path, self._folder.path / name)
            self._path = self._folder.path / name
            self._folder.sync()
        except OSError:
            self.discard()
            raise
        return StoredObject(self._number, self._path, self._size_bytes, received_at)

    def discard(self) -> None:
        """Forget the object; what cannot be removed now is removed, or never acknowledged, at the next start."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._files.remove_file(self._path)

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            self._files.close(file)


class AssociationFolder:
    """One association in the spool. Nothing is on the disk before its first object. Written by one thread at a time."""

    def __init__(self, spool: Spool, boot: _Boot, facts: StartFacts, *, made: bool) -> None:
        self.facts, self.files, self.now = facts, spool.files, spool.now
        self.path = boot.path / facts.association
        self.sealed: Seal | None = None
        self._spool, self._boot = spool, boot
        self._made, self._broken = made, False
        self._begun = 0

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
        self._begun += 1
        temporary = self.path / f"{self._begun:06d}{_TEMPORARY}"
        writer = ObjectWriter(self, self._begun, self.files.create(temporary), temporary)
        writer.write([head])
        return writer

    def mark_unacknowledged(self, stored: StoredObject) -> None:
        """Keep that an object, though it is durable, was not answered 0x0000. Raises OSError."""
        self.files.close(self.files.create(self.path / f"{stored.number:06d}{_UNACKNOWLEDGED}"))
        self.sync()

    def sync(self) -> None:
        """Make the folder's names durable. Raises OSError; then the folder takes no more objects."""
        try:
            self.files.sync_folder(self.path)
        except OSError:
            self._broken = True
            raise

    def seal(self, ending: Ending, ended_at: datetime) -> None:
        """Take no more objects, and keep how the association ended. Raises OSError; then it may be called again."""
        if self.sealed is None:
            seal = Seal(ending=ending, ended_at=ended_at, sequence=self._spool.next_sequence())
            self._spool.write_file(self.path / "sealed.json", to_json(seal))
            self.files.sync_folder(self.path)
            self.sealed = seal

    def objects(self) -> list[StoredObject]:
        """The objects in order of arrival, as the folder holds them. Raises OSError."""
        names, found = set(self.files.names(self.path)), []
        for name in names:
            if match := _OBJECT_NAME.fullmatch(name):
                number, seconds, milliseconds = match.groups()
                received_at = datetime.strptime(seconds, "%Y%m%dT%H%M%S").replace(
                    microsecond=int(milliseconds) * 1000, tzinfo=UTC
                )
                path = self.path / name
                unacknowledged = f"{number}{_UNACKNOWLEDGED}" in names
                found.append(StoredObject(int(number), path, self.files.size(path), received_at, unacknowledged))
        return sorted(found)

    def keep_manifests(self, manifest: AssociationManifest, parts: list[PartManifest]) -> None:
        """Keep what will be announced, once every object is in S3. Raises OSError."""
        for part in parts:
            self._spool.write_file(self.path / f"part-{part.part}.json", to_json(part))
        self._spool.write_file(self.path / "manifest.json", to_json(manifest))
        self.files.sync_folder(self.path)

    def manifests(self) -> tuple[bytes, dict[int, bytes]] | None:
        """The kept manifest and the part manifests by number; None when there is none yet. Raises OSError."""
        names = self.files.names(self.path)
        if "manifest.json" not in names:
            return None
        parts = {int(match[1]): self._read(match[0]) for name in names if (match := _PART_NAME.fullmatch(name))}
        return self._read("manifest.json"), dict(sorted(parts.items()))

    def remove(self) -> None:
        """Remove the folder, which holds nothing that is still needed. Raises OSError; then it may be called again."""
        if self._made:
            if not self.path.name.startswith(_REMOVED):
                removed = self.path.with_name(_REMOVED + self.path.name)
                self.files.rename(self.path, removed)
                self.path = removed
            self.files.sync_folder(self._boot.path)  # before anything in it goes: half a folder is not to be recovered
            self._spool.remove_tree(self.path)
            self._made = False
        self._boot.forget(self.facts.association)

    def _make(self) -> None:
        self._broken = True  # unless all of this succeeds: a folder's failed sync is not tried again
        self.files.make_folder(self.path)
        self._made = True
        self._spool.write_file(self.path / "association.json", to_json(self.facts))
        self.files.sync_folder(self._boot.path)  # association.json's own name is synced with the first object's
        self._broken = False

    def _read(self, name: str) -> bytes:
        with self.files.open(self.path / name) as file:
            return file.read()

    def read_leftover(self, now: datetime) -> None:
        """Read what a dead process left in this folder, and seal it. Raises OSError, ContractError."""
        self.files.sync_folder(self.path)  # it may have died between a rename and its sync
        names = self.files.names(self.path)
        for name in names:
            if name.endswith(_TEMPORARY):
                self.files.remove_file(self.path / name)
        with contextlib.suppress(FileNotFoundError, ContractError):
            self.facts = from_json(StartFacts, self._read("association.json"))
        if "sealed.json" in names:
            self.sealed = from_json(Seal, self._read("sealed.json"))
        elif self.objects():
            self.seal(Ending.RECOVERED, now)


class _Boot:
    """The folder of one process: ours, or one that a dead process left and whose lock we now hold."""

    def __init__(self, files: FileSystem, path: Path, release: Callable[[], None], *, ours: bool) -> None:
        self.path, self._files, self._release, self._ours = path, files, release, ours
        self._associations: set[str] = set()
        self._lock = threading.Lock()

    def hold(self, association: str) -> None:
        with self._lock:
            self._associations.add(association)

    def forget(self, association: str) -> None:
        """An association is gone; with its last one, a dead process's folder goes too."""
        with self._lock:
            self._associations.discard(association)
            empty = not self._associations
        if empty and not self._ours:
            self.close()

    def close(self) -> None:
        """Give the folder back, and remove it if nothing is left in it. Called once."""
        with contextlib.suppress(OSError):
            if self._files.names(self.path) == ["lock"]:
                self._files.remove_file(self.path / "lock")
                self._files.remove_folder(self.path)
        self._release()


def own_spool(root: Path, files: FileSystem) -> Callable[[], None]:
    """Make this process's receiver the one of the spool; the function that is returned gives the spool back.

    Raises SpoolInUseError, OSError.
    """
    _make_if_missing(files, root)
    release = files.lock(root / "lock")
    if release is None:
        raise SpoolInUseError(
            f"Another receiver uses the spool {root}. Stop it first, or give this one a spool of its own (AHI_INGEST_SPOOL)."
        )
    return release


class Spool:
    """The spool of one edge, as one process of its receiver uses it until `close`."""

    def __init__(
        self,
        root: Path,
        *,
        edge: str,
        files: FileSystem,
        part_max_objects: int,
        part_max_bytes: int,
        object_max_bytes: int,
        owned: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`owned`: the process that started this one owns the spool, for several workers.

        Raises SpoolInUseError, and OSError when the spool cannot be made or read.
        """
        self.root, self.files, self.now = root, files, now
        self._edge, self._part_max_objects, self._part_max_bytes = edge, part_max_objects, part_max_bytes
        self._object_max_bytes = object_max_bytes
        self.unreadable: list[tuple[Path, str]] = []
        self._give_back = None if owned else own_spool(root, files)
        self._out = root / "out"
        _make_if_missing(files, self._out)
        self._boot = self._make_boot()

    def begin_association(self, *, calling_ae: str, called_ae: str, peer: str) -> AssociationFolder:
        """An association that has just been accepted."""
        started_at = self.now()
        facts = self._facts(new_association_id(calling_ae, started_at), calling_ae, called_ae, peer, started_at)
        self._boot.hold(facts.association)
        return AssociationFolder(self, self._boot, facts, made=False)

    def leftovers(self) -> list[AssociationFolder]:
        """What dead processes left, sealed and without temporary files, in the order of their sequence numbers.

        May be called again, for what siblings left that died since. Folders whose lock is held are not touched. What cannot be
        read stays where it is, its boot folder's lock held, and is listed in `unreadable`. Raises OSError.
        """
        found = []
        for name in sorted(self.files.names(self._out)):
            path = self._out / name
            if path == self._boot.path:
                continue
            try:
                release = self.files.lock(path / "lock")
            except FileNotFoundError:  # a sibling has just removed it
                continue
            if release is not None:
                found += self._adopt(_Boot(self.files, path, release, ours=False))
        return sorted(found, key=lambda folder: folder.sealed.sequence if folder.sealed else 0)

    def close(self) -> None:
        """Give the spool back."""
        self._boot.close()
        if self._give_back is not None:
            self._give_back()

    def next_sequence(self) -> int:
        """A number that no association of this edge has had, higher than all before. Raises OSError."""
        release = self.files.lock(self.root / "sequence.lock", wait=True)
        assert release is not None  # noqa: S101 - it waited
        try:
            number = self._read_sequence() + 1
            self.write_file(self.root / "sequence", str(number).encode())
            self.files.sync_folder(self.root)
        finally:
            release()
        return number

    def write_file(self, path: Path, content: bytes) -> None:
        """Give `path` new content, whole or not at all. The caller syncs the folder. Raises OSError."""
        temporary = path.with_name(path.name + _TEMPORARY)
        self.files.remove_file(temporary)
        file = self.files.create(temporary)
        try:
            self.files.write(file, [content])
            self.files.sync_file(file)
        finally:
            self.files.close(file)
        self.files.rename(temporary, path)

    def remove_tree(self, path: Path) -> None:
        """Remove a folder of files. Raises OSError."""
        for name in self.files.names(path):
            self.files.remove_file(path / name)
        self.files.remove_folder(path)

    def _adopt(self, boot: _Boot) -> list[AssociationFolder]:
        left = []
        self.files.sync_folder(boot.path)  # a rename to removed-... may not be durable yet
        names = sorted(set(self.files.names(boot.path)) - {"lock"})
        for name in names:  # all before the first is forgotten, since with the last one the lock goes
            boot.hold(name)
        for name in names:
            path = boot.path / name
            if name.startswith(_REMOVED):
                self.remove_tree(path)
                boot.forget(name)
                continue
            folder = AssociationFolder(self, boot, self._facts(name, "", "", "", self.now()), made=True)
            try:
                folder.read_leftover(self.now())
            except (OSError, ContractError) as error:
                self.unreadable.append((path, type(error).__name__))
                continue
            if folder.sealed is None:  # no object: nothing was acknowledged
                self.remove_tree(path)
                boot.forget(name)
            else:
                left.append(folder)
        if not names:
            boot.close()
        return left

    def _facts(self, association: str, calling_ae: str, called_ae: str, peer: str, started_at: datetime) -> StartFacts:
        return StartFacts(
            association=association,
            edge=self._edge,
            calling_ae=calling_ae,
            called_ae=called_ae,
            peer=peer,
            started_at=started_at,
            part_max_objects=self._part_max_objects,
            part_max_bytes=self._part_max_bytes,
            object_max_bytes=self._object_max_bytes,
        )

    def _make_boot(self) -> _Boot:
        while True:
            path = self._out / f"{self.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            _make_if_missing(self.files, path)
            with contextlib.suppress(FileNotFoundError):
                if (release := self.files.lock(path / "lock")) is not None:
                    return _Boot(self.files, path, release, ours=True)
            # A sibling that looks for leftovers found the folder before its lock: another name.

    def _read_sequence(self) -> int:
        try:
            with self.files.open(self.root / "sequence") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0


def _make_if_missing(files: FileSystem, path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        files.make_folder(path)
    files.sync_folder(path.parent)  # also when it exists: whoever made it may have died before its sync
