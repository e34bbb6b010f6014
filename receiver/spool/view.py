"""What is in the spool, for who looks at it: reads only, takes no lock, and never minds what changes meanwhile."""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from contract.strict import ContractError, from_json
from receiver.filesystem import FileSystem
from receiver.spool.documents import StartFacts
from receiver.spool.folder import REMOVED, StoredObject, count_objects, stored_objects

UNKNOWN = sys.maxsize
"""Objects of a folder that the disk does not let us read."""


class SpoolState(enum.StrEnum):
    """How far an association is."""

    OPEN = enum.auto()
    """Objects may still arrive; or its process is dead, and nobody has taken it up."""
    SEALED = enum.auto()
    """It has ended; objects are being uploaded."""
    UPLOADED = enum.auto()
    """Every object is in S3; it is being announced."""


@dataclass(frozen=True, slots=True)
class SpooledAssociation:
    """An association whose folder is in the spool."""

    association: str
    path: Path
    state: SpoolState
    calling_ae: str
    objects: int
    size_bytes: int
    oldest_at: datetime | None
    newest_at: datetime | None


class SpoolView:
    """A spool, as it is at the moment of asking. Folders that did not change are not read again."""

    def __init__(self, root: Path, files: FileSystem) -> None:
        self.root, self._files = root, files
        self._seen: dict[Path, tuple[int, SpooledAssociation]] = {}

    def associations(self) -> list[SpooledAssociation]:
        """All associations in the order of their ids. Raises OSError when there is no spool."""
        found: dict[Path, tuple[int, SpooledAssociation]] = {}
        for path in self._folders():
            with contextlib.suppress(FileNotFoundError):  # it was announced and removed meanwhile
                changed = path.stat().st_mtime_ns
                seen = self._seen.get(path)
                found[path] = seen if seen and seen[0] == changed else (changed, self._read(path))
        self._seen = found
        return sorted((one for _, one in found.values()), key=lambda one: one.association)

    def object_counts(self) -> dict[Path, int]:
        """How many objects each association's folder has, none left out that was durable before; UNKNOWN if it cannot be read.

        Raises OSError when there is no spool.
        """
        counts: dict[Path, int] = {}
        for path in self._folders():
            try:
                counts[path] = count_objects(self._files, path)
            except FileNotFoundError:  # it was announced and removed meanwhile
                continue
            except OSError:
                counts[path] = UNKNOWN
        return counts

    def objects(self, association: SpooledAssociation) -> list[StoredObject]:
        """Its objects in order of arrival. Raises OSError."""
        return stored_objects(self._files, association.path)

    def facts(self, association: SpooledAssociation) -> StartFacts:
        """Who opened it, and when. Raises OSError, ContractError."""
        return _facts(self._files, association.path)

    def _folders(self) -> Iterator[Path]:
        for boot in (self.root / "out").iterdir():
            with contextlib.suppress(FileNotFoundError):
                for path in boot.iterdir():
                    if path.name != "lock" and not path.name.startswith(REMOVED):
                        yield path

    def _read(self, path: Path) -> SpooledAssociation:
        names = set(self._files.names(path))
        stored = stored_objects(self._files, path)
        calling_ae = ""
        with contextlib.suppress(FileNotFoundError, ContractError):
            calling_ae = _facts(self._files, path).calling_ae
        state = SpoolState.OPEN
        if "sealed.json" in names:
            state = SpoolState.UPLOADED if "manifest.json" in names else SpoolState.SEALED
        return SpooledAssociation(
            path.name,
            path,
            state,
            calling_ae,
            len(stored),
            sum(one.size_bytes for one in stored),
            stored[0].received_at if stored else None,
            stored[-1].received_at if stored else None,
        )


def is_removed(folder: Path) -> bool:
    """Whether an association's folder is gone: it was announced. One that the disk does not let us look at is not."""
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _facts(files: FileSystem, path: Path) -> StartFacts:
    with files.open(path / "association.json") as file:
        return from_json(StartFacts, file.read())
