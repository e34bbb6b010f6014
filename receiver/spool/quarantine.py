"""The quarantine on the gateway: copies of objects that were acknowledged and not imported, for whoever looks into them.

    <spool>/quarantine/<association id>/<name>.dcm     the file as it was received, a hard link while its folder exists
    <spool>/quarantine/<association id>/<name>.json    what it is, and why it was not imported

S3 has each of them under `quarantine/`, and the manifest its reason: what is lost here, in a crash or for want of space, is
a convenience. So nothing is synced, and the copies go first when the disk is low.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from contract.manifest import AssociationManifest, QuarantinedObject
from contract.strict import ContractError, from_json, to_json
from receiver.spool.folder import StoredObject

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFacts:
    """The JSON beside a copy."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    association: str
    calling_ae: str
    quarantined: QuarantinedObject


@dataclass(frozen=True, slots=True)
class KeptObject:
    """A copy."""

    path: Path
    facts: KeptFacts

    @property
    def name(self) -> str:
        """By which commands call it."""
        return f"{self.facts.association}/{self.path.stem}"

    @property
    def held(self) -> QuarantinedObject:
        return self.facts.quarantined

    def discard(self) -> None:
        """Remove the copy, and its association's folder with the last one. Raises OSError."""
        self.path.unlink()
        self.path.with_suffix(".json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


class Quarantine:
    """The copies of one spool."""

    def __init__(self, spool: Path) -> None:
        self.folder = spool / "quarantine"

    def keep(self, manifest: AssociationManifest, objects: list[StoredObject]) -> None:
        """Keep what the manifest quarantines. `objects` are the association's, in order of arrival. Raises OSError."""
        for held in manifest.quarantined:
            file_name = held.key.rpartition("/")[2]
            arrival = int(file_name.partition("-")[0])
            folder = self.folder / manifest.association
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            facts = KeptFacts(association=manifest.association, calling_ae=manifest.calling_ae, quarantined=held)
            path = folder / file_name
            path.with_suffix(".json").write_bytes(to_json(facts))
            with contextlib.suppress(FileExistsError):  # announced for the second time
                os.link(objects[arrival - 1].path, path)

    def keep_if_possible(self, manifest: AssociationManifest, objects: list[StoredObject]) -> None:
        """The same, and a log line when it cannot be done: S3 has them."""
        try:
            self.keep(manifest, objects)
        except OSError as error:
            _log.warning(
                "quarantined objects are not kept on this machine",
                extra={"association": manifest.association, "error": error.strerror or type(error).__name__},
            )

    def objects(self) -> list[KeptObject]:
        """All copies, the oldest first. Raises OSError."""
        found = []
        for path in self.folder.glob("*/*.dcm"):
            with contextlib.suppress(FileNotFoundError, ContractError):  # it is being discarded, or was written in part
                found.append(KeptObject(path, from_json(KeptFacts, path.with_suffix(".json").read_bytes())))
        return sorted(found, key=lambda one: (one.held.received_at, one.name))

    def make_room(self, now: datetime, keep: timedelta, disk_is_low: Callable[[], bool]) -> list[KeptObject]:
        """Discard copies older than `keep`, and while the disk is low the oldest. Returns these. Raises OSError."""
        gone = []
        for one in self.objects():
            if now - one.held.received_at > keep or disk_is_low():
                one.discard()
                gone.append(one)
        return gone
