"""The spool as a whole: who owns it, and what dead processes left in it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from contract import Ending, new_association_id
from contract.strict import ContractError, utc_now
from receiver.filesystem import FileSystem
from receiver.logs import error_text
from receiver.spool.boot import Boot
from receiver.spool.documents import StartFacts
from receiver.spool.durable import make_if_missing, write_file
from receiver.spool.folder import AssociationFolder
from receiver.spool.leftover import Leftover
from receiver.spool.members import ending_of


class SpoolInUseError(Exception):
    """Another receiver owns the spool. The text says what to do."""


def own_spool(root: Path, files: FileSystem) -> Callable[[], None]:
    """Make this process's receiver the one of the spool; the function that is returned gives the spool back.

    Raises SpoolInUseError, OSError.
    """
    make_if_missing(files, root)
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
        recycle_bytes: int = 0,
        owned: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`recycle_bytes` of files that are no longer needed are kept, for new objects to be written over.

        `owned`: the process that started this one owns the spool, for several workers.

        Raises SpoolInUseError, and OSError when the spool cannot be made or read.
        """
        self.root, self.files, self.now = root, files, now
        self._edge, self._part_max_objects, self._part_max_bytes = edge, part_max_objects, part_max_bytes
        self._object_max_bytes = object_max_bytes
        self.unreadable: list[tuple[Path, str]] = []
        """Folders that were left with documents that nobody can read, and why."""
        self.waiting: list[tuple[Path, str]] = []
        """Folders that `leftovers` could not take up the last time for what the disk said, which may pass."""
        self._adopted: list[AssociationFolder] = []
        self._give_back = None if owned else own_spool(root, files)
        self._out = root / "out"
        make_if_missing(files, self._out)
        self._recycle_bytes = recycle_bytes
        self._boot = self._make_boot()

    def begin_association(self, *, calling_ae: str, called_ae: str, peer: str) -> AssociationFolder:
        """An association that has just been accepted."""
        started_at = self.now()
        facts = self._facts(new_association_id(calling_ae, started_at), calling_ae, called_ae, peer, started_at)
        self._boot.hold(facts.association)
        return self._folder(self._boot, facts)

    def leftovers(self) -> list[AssociationFolder]:
        """What dead processes left, sealed and without temporary files, in the order of their sequence numbers.

        May be called again, for what siblings left that died since, and for what is `waiting`. Folders whose lock is held are
        not touched. Nothing that is taken up is lost to the next call by what happens to another. What cannot be read stays
        where it is, its boot folder's lock held, and is listed in `unreadable`. Raises OSError when the spool cannot be listed.
        """
        names, self.waiting, found = sorted(self.files.names(self._out)), [], []
        for path in (self._out / name for name in names):
            try:
                if path != self._boot.path:
                    self._adopt(path)
            except FileNotFoundError:  # a sibling has just removed it
                continue
            except OSError as error:
                self.waiting.append((path, error_text(error)))
        adopted, self._adopted = self._adopted, []
        for folder in adopted:
            try:
                if self._take_up(folder):
                    found.append(folder)
            except ContractError as error:
                self.unreadable.append((folder.path, error_text(error)))
            except OSError as error:
                self._adopted.append(folder)
                self.waiting.append((folder.path, error_text(error)))
        return sorted(found, key=lambda folder: folder.sealed.sequence if folder.sealed else 0)

    def free_bytes(self, low_bytes: int) -> int:
        """The disk's free space; recycled files go where it is low, or less than they may have. Raises OSError."""
        free = self.files.free_bytes(self.root)
        if free < max(low_bytes, self._recycle_bytes) and self._boot.recycled.remove_all():
            free = self.files.free_bytes(self.root)
        return free

    def remove_unused(self) -> None:
        """Remove recycled files that nobody used for long."""
        self._boot.recycled.remove_unused()

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
            write_file(self.files, self.root, "sequence", str(number).encode())
            self.files.sync_folder(self.root)
        finally:
            release()
        return number

    def _adopt(self, path: Path) -> None:
        """Hold what a dead process left, if nobody else does. Raises OSError, and then holds nothing."""
        release = self.files.lock(path / "lock")
        if release is None:
            return
        try:
            names = sorted(set(self.files.names(path)) - {"lock"})
        except OSError:
            release()
            raise
        boot = Boot(self.files, path, release, ours=False)
        for name in names:  # all before the first is forgotten, since with the last one the lock goes
            boot.hold(name)
        self._adopted += [self._folder(boot, self._facts(name, "", "", "", self.now()), name) for name in names]
        if not names:
            boot.close()

    def _take_up(self, folder: AssociationFolder) -> bool:
        """Seal what a dead process left of an association; False when nothing is to be done any more.

        Raises OSError, and then may be called again, and ContractError.
        """
        match folder.read_leftover():
            case Leftover.BEING_REMOVED | Leftover.NOTHING_STORED:
                folder.remove()
                return False
            case Leftover.NOT_ENDED:
                folder.seal(Ending.RECOVERED, self.now())
            case Leftover.BETWEEN_MEMBERS:
                members = folder.members(self.now())
                folder.seal(ending_of([member.ending for member in members]), members[-1].ended_at)
            case Leftover.SEALED | Leftover.MANIFEST_KEPT:  # Uploads.resume tells them apart
                pass
        return True

    def _folder(self, boot: Boot, facts: StartFacts, name: str = "") -> AssociationFolder:
        return AssociationFolder(boot, facts, next_sequence=self.next_sequence, now=self.now, name=name)

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

    def _make_boot(self) -> Boot:
        while True:
            path = self._out / f"{self.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            make_if_missing(self.files, path)
            with contextlib.suppress(FileNotFoundError):
                if (release := self.files.lock(path / "lock")) is not None:
                    return Boot(self.files, path, release, ours=True, recycle_bytes=self._recycle_bytes)
            # A sibling that looks for leftovers found the folder before its lock: another name.

    def _read_sequence(self) -> int:
        try:
            with self.files.open(self.root / "sequence") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0
