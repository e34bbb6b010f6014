"""A receiver: associations into the spool, the spool into the cloud. Made of the parts that its arguments configure.

A small site runs one. Otherwise several workers (receiver/worker.py) have one each, and share the port and the spool.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from contract import new_association_id
from contract.strict import utc_now
from receiver.cloud import Cloud
from receiver.coalescing import Coalescing
from receiver.committing import make_commitment
from receiver.counters import Counters, Report
from receiver.dicom.admission import ae_title
from receiver.dicom.status import Rejection
from receiver.disk import Disk
from receiver.filesystem import FileSystem, LocalFileSystem, UnsyncedFileSystem
from receiver.listening import Sockets, make_listener, open_sockets, tls_of
from receiver.logs import error_text
from receiver.memory import give_back_free_memory
from receiver.reception import AssociationReception, Upload
from receiver.settings import Settings
from receiver.spool import AssociationFolder, Spool
from receiver.spool.quarantine import Quarantine
from receiver.upload_workers import UploadWorkers
from receiver.uploads import Uploads

_HOUSEKEEPING_EVERY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Receiver:
    """One process's receiver. `start` and `stop`, once each."""

    def __init__(
        self,
        settings: Settings,
        cloud: Cloud,
        files: FileSystem | None = None,
        *,
        shared_socket: socket.socket | None = None,
        shared_tls_socket: socket.socket | None = None,
    ) -> None:
        """Take the spool and the ports. Raises SpoolInUseError, SettingsError, OSError.

        `shared_socket` and `shared_tls_socket` listen, and siblings accept on them too; the process that opened them owns the
        spool.
        """
        shared = Sockets(shared_socket, shared_tls_socket)
        self._settings, self._shared = settings, any(shared)
        tls = tls_of(settings)
        files = files or (UnsyncedFileSystem() if settings.durability == "none" else LocalFileSystem())
        self._spool = Spool(
            settings.spool,
            edge=settings.edge_id,
            files=files,
            part_max_objects=settings.part_max_objects,
            part_max_bytes=settings.part_max_bytes,
            object_max_bytes=settings.object_max_bytes,
            recycle_bytes=settings.recycle_bytes // settings.workers,
            owned=self._shared,
        )
        self._disk = Disk(
            partial(self._spool.free_bytes, settings.disk_low_bytes),
            low_bytes=settings.disk_low_bytes,
            reserve_bytes=settings.disk_reserve_bytes,
        )
        self._counters = Counters()
        self._commitment = make_commitment(settings, shared=self._shared)
        self.uploads = Uploads(
            cloud,
            bucket=settings.bucket,
            counters=self._counters,
            quarantine=Quarantine(settings.spool) if settings.quarantine_keep_days else None,
            ledger=self._commitment.ledger if self._commitment else None,
        )
        self._coalescing = Coalescing(settings.coalesce_seconds) if settings.coalesce_seconds else None
        self._workers = UploadWorkers(
            self.uploads, workers=settings.upload_workers, backoff_max_seconds=settings.upload_backoff_max_seconds
        )
        self._sockets = shared if self._shared else open_sockets(settings)
        self._listener = make_listener(
            settings,
            self._sockets,
            tls,
            self,
            self._commitment.provider if self._commitment else None,
            shared=self._shared,
            has_room=self._disk.has_room,
        )
        self._leftovers: list[AssociationFolder] = []
        self._told: set[tuple[Path, str]] = set()
        self._accepting = False
        self._stopping = threading.Event()
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)

    @property
    def port(self) -> int:
        """The port without TLS, -1 when there is none."""
        return _port_of(self._sockets.plain)

    @property
    def tls_port(self) -> int:
        """The port with TLS, -1 when there is none."""
        return _port_of(self._sockets.tls)

    @property
    def connections(self) -> int:
        """How many connections are open, with or without an association."""
        return self._listener.connections

    def report(self) -> Report:
        """What was counted until now, and what is held now."""
        report, oldest = self._counters.report(), self.uploads.oldest_received_at
        report.workers = int(self._accepting)
        report.uploading = self.uploads.open_associations + self._waiting
        report.upload_lag_seconds = max(0.0, (utc_now() - oldest).total_seconds()) if oldest else 0.0
        report.cloud_refusal = self.uploads.refusal
        return report

    def start(self) -> None:
        """Recover what dead processes left, and accept associations. Raises OSError."""
        if self._settings.durability == "none":
            _log.warning("AHI_INGEST_DURABILITY is `none`: what is acknowledged may be lost; for benchmarks only")
        self._recover()
        self._workers.start()
        if self._commitment is not None:
            self._commitment.start()
        if self._coalescing is not None:
            self._coalescing.start()
        self._listener.start()
        self._accepting = True
        self._housekeeping.start()

    def drain(self) -> None:
        """Reject new associations from now on; open ones and uploads go on. May be called again."""
        self._accepting = False
        self._listener.drain()
        if self._coalescing is not None:
            self._coalescing.close()

    @property
    def is_idle(self) -> bool:
        """Whether no association is open, and everything is announced."""
        return not self._listener.connections and not self.uploads.open_associations and not self._waiting

    def stop(self, *, keep_port: bool = True) -> None:
        """Let associations and uploads go on until the deadline, and leave the rest to the next start.

        New associations are rejected meanwhile, or find no port, so that another receiver can open it.
        """
        deadline = time.monotonic() + self._settings.drain_timeout_seconds
        self._stopping.set()
        self._accepting = False
        if keep_port:
            self._listener.drain()
        else:
            self._listener.close_ports()
        if self._coalescing is not None:
            self._coalescing.close()
        self._listener.end_associations(deadline)
        self._housekeeping.join(max(0.0, deadline - time.monotonic()))
        if not self.uploads.wait_until_done(max(0.0, deadline - time.monotonic())):
            left = self.uploads.open_associations + self._waiting
            _log.warning("uploads left to the next start", extra={"associations": left})
        self._workers.stop(timeout_seconds=1)
        if self._commitment is not None:
            self._commitment.stop()
        if not self._listener.connections:  # otherwise a thread still writes: the kernel gives the spool back
            self._spool.close()

    def _recover(self) -> None:
        """Take up what dead processes left and no sibling has taken up. Raises OSError when the spool cannot be listed.

        What the disk does not let us read now waits for the next call: it keeps nothing else from its way.
        """
        left, self._leftovers = self._leftovers + self._spool.leftovers(), []
        waiting = list(self._spool.waiting)
        for folder in left:
            try:
                self.uploads.resume(folder)
            except OSError as error:
                self._leftovers.append(folder)
                waiting.append((folder.path, error_text(error)))
            else:
                _log.info("association recovered", extra={"association": folder.facts.association})
        self._tell("a spool folder cannot be taken up now, and waits", waiting)
        self._tell("a spool folder cannot be read and is left as it is", self._spool.unreadable)
        self._told &= {*waiting, *self._spool.unreadable}

    def _tell(self, event: str, folders: Iterable[tuple[Path, str]]) -> None:
        """Log each folder and its error once, as long as it stays so."""
        for path, error in folders:
            if (path, error) not in self._told:
                self._told.add((path, error))
                _log.error(event, extra={"folder": path.name, "error": error})

    @property
    def _waiting(self) -> int:
        """How much of what dead processes left could not be taken up yet."""
        return len(self._leftovers) + len(self._spool.waiting)

    def _keep_house(self) -> None:
        while not self._stopping.wait(_HOUSEKEEPING_EVERY_SECONDS):
            give_back_free_memory()
            self._spool.remove_unused()
            self._disk.has_room()  # recycled files go where it is low, also while nobody calls
            if self._shared or self._waiting:  # siblings may have died
                try:
                    self._recover()
                except OSError as error:
                    _log.error("recovery failed, will be tried again", extra={"error": error_text(error)})

    def rejected(self, rejection: Rejection, *, calling_ae: bytes, called_ae: bytes, peer: str) -> None:
        code = "/".join(map(str, rejection))
        self._counters.association_rejected(code)
        _log.warning(
            "association rejected",
            extra={
                "result_source_reason": code,
                "calling_ae": ae_title(calling_ae),
                "called_ae": ae_title(called_ae),
                "peer": peer,
            },
        )

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> AssociationReception:
        folder, upload = self._begin(ae_title(calling_ae), ae_title(called_ae), peer)
        facts = folder.facts
        _log.info(
            "association opened",
            extra={
                "association": upload.association,
                "calling_ae": facts.calling_ae,
                "called_ae": facts.called_ae,
                "peer": peer,
            }
            | ({} if upload.association == facts.association else {"shares_manifest_of": facts.association}),
        )
        return AssociationReception(
            folder,
            upload,
            calling_ae.rstrip(b"\0 "),
            self._disk,
            self._counters,
            strict=self._settings.validation == "strict",
            confirmation_seconds=self._settings.confirmation_seconds if self._settings.durability == "cloud" else None,
        )

    def _begin(self, calling_ae: str, called_ae: str, peer: str) -> tuple[AssociationFolder, Upload]:
        """The folder that an association's objects go to, and where they go on to."""
        if self._coalescing is not None:
            now = utc_now()
            member = self._coalescing.join((calling_ae, called_ae, peer), new_association_id(calling_ae, now), now)
            if member is not None:
                return member.folder, member
        folder = self._spool.begin_association(calling_ae=calling_ae, called_ae=called_ae, peer=peer)
        upload = self.uploads.begin(folder)
        return folder, self._coalescing.begin(folder, upload) if self._coalescing is not None else upload


def _port_of(sock: socket.socket | None) -> int:
    return int(sock.getsockname()[1]) if sock is not None else -1
