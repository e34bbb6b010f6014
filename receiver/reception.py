"""One association while it is received: its objects go to its folder, and from there to its upload.

What is answered, and when (the settings `durability` and `validation`):
    0x0000  the object is durable in the spool; with durability `cloud` also in S3
    0xA700  the disk did not take it; or, with `cloud`, S3 did not confirm it in time: then it is kept, marked unacknowledged,
            and uploaded, and an identical repeat of it is the same object
    0xA900  with validation `strict`: it is not what its command named
    0xC000  with validation `strict`: it cannot be read
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from contract import Ending
from contract.strict import utc_now
from contract.uids import uid_from_wire
from receiver.counters import Counters
from receiver.dicom.status import StoreStatus
from receiver.dicom.storing import ObjectRefusedError, ObjectSink, StoreRequest
from receiver.disk import Disk
from receiver.logs import error_text
from receiver.part10 import head_bytes
from receiver.spool import AssociationFolder, ObjectWriter, StoredObject
from receiver.validation import Fault, Validation

_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


class Upload(Protocol):
    """Where the objects of an association go on to: an upload of its own, or one that it shares (receiver.coalescing)."""

    association: str
    """The association's own id."""

    def add(self, stored: StoredObject, confirmed: threading.Event | None = None) -> None:
        """One more object is durable. `confirmed` is set once S3 has it."""

    def end(self, ending: Ending, ended_at: datetime) -> None:
        """No more objects."""


class AssociationReception:
    """What the receiver does with one association (receiver.dicom.host.Reception)."""

    def __init__(
        self,
        folder: AssociationFolder,
        upload: Upload,
        calling_ae: bytes,
        disk: Disk,
        counters: Counters,
        *,
        strict: bool,
        confirmation_seconds: float | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`confirmation_seconds`: how long S3 may take before an object is answered; None not to wait for S3."""
        self.association = upload.association
        self._folder, self._upload, self._calling_ae, self._disk, self._now = folder, upload, calling_ae, disk, now
        self._strict, self._confirmation_seconds = strict, confirmation_seconds
        self._counters, self._tally = counters, counters.association_began(folder.facts.calling_ae)
        self._unacknowledged = 0

    def begin_object(self, request: StoreRequest) -> ObjectSink:
        head = head_bytes(
            sop_class=request.sop_class,
            sop_instance=request.sop_instance,
            transfer_syntax=request.transfer_syntax,
            source_ae=self._calling_ae,
        )
        validation = None
        if self._strict:
            uids = (request.sop_class, request.sop_instance, request.transfer_syntax)
            validation = Validation(*map(uid_from_wire, uids))
        try:
            return _Sink(self, self._folder.begin_object(head), self._disk, validation)
        except OSError as error:
            self.not_stored(error)
            raise

    def refused(self, status: StoreStatus) -> None:
        self._tally.refused[f"0x{status:04X}"] += 1
        _log.warning("object refused", extra={"association": self.association, "status": f"0x{status:04X}"})

    def end(self, ending: Ending) -> None:
        ended_at = self._now()
        _log.info(
            "association ended",
            extra={
                "association": self.association,
                "ending": str(ending),
                "objects": self._tally.objects,
                "refused": self._tally.refused.total(),
                "unacknowledged": self._unacknowledged,
            },
        )
        self._counters.association_ended(self._tally, str(ending))
        self._upload.end(ending, ended_at)

    def stored(self, stored: StoredObject) -> None:
        """An object is durable: when this returns, it is acknowledged. Raises ObjectRefusedError."""
        if self._confirmation_seconds is None:
            self._upload.add(stored)
            self._disk.slow_down()
        else:
            confirmed = threading.Event()
            self._upload.add(stored, confirmed)
            if not confirmed.wait(self._confirmation_seconds):
                self._not_confirmed(stored)
        self._tally.objects += 1
        self._tally.object_bytes += stored.size_bytes
        self._tally.last_object_at = stored.received_at

    def not_stored(self, error: OSError) -> None:
        """The disk did not take an object."""
        if error.errno not in _FULL:
            self._counters.disk_failed(self._now())
        _log.error("object not stored", extra={"association": self.association, "error": error_text(error)})

    def _not_confirmed(self, stored: StoredObject) -> None:
        self._unacknowledged += 1
        try:
            self._folder.mark_unacknowledged(stored)
        except OSError as error:
            _log.error("mark failed", extra={"association": self.association, "error": error_text(error)})
        raise ObjectRefusedError(StoreStatus.OUT_OF_RESOURCES, comment="S3 did not confirm it in time; it is kept")


class _Sink:
    """Where the P-DATA loop puts one object."""

    def __init__(
        self, reception: AssociationReception, writer: ObjectWriter, disk: Disk, validation: Validation | None
    ) -> None:
        self._reception, self._writer, self._disk, self._validation = reception, writer, disk, validation

    def write(self, chunks: list[memoryview]) -> None:
        try:
            self._disk.take(sum(map(len, chunks)))
            self._writer.write(chunks)
        except OSError as error:
            self._writer.discard()
            self._reception.not_stored(error)
            raise
        if self._validation is not None:
            for chunk in chunks:
                self._validation.feed(chunk)

    def commit(self) -> None:
        if self._validation is not None and (fault := self._validation.end()):
            self._writer.discard()
            raise _refusal(fault)
        try:
            stored = self._writer.commit()
        except OSError as error:
            self._reception.not_stored(error)
            raise
        self._reception.stored(stored)

    def discard(self) -> None:
        self._writer.discard()


def _refusal(fault: Fault) -> ObjectRefusedError:
    return ObjectRefusedError(
        StoreStatus.DATA_SET_DIFFERS if fault.differs else StoreStatus.CANNOT_UNDERSTAND,
        offending_elements=(fault.tag[0] << 16 | fault.tag[1],) if fault.tag else (),
        comment=fault.reason,
    )
