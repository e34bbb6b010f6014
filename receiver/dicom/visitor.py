"""One connection that was accepted, in a thread of its own: TLS, the first byte, then an association.

Until a peer has said anything it costs a thread and a socket, no more: port scans and health checks come in thousands.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pynetdicom import AE

from receiver.dicom.admission import Admission
from receiver.dicom.association import ServedAssociation
from receiver.dicom.connection import Connection
from receiver.dicom.host import Reception, Timeouts
from receiver.dicom.negotiation import Negotiation
from receiver.dicom.pdu import AssociateRq
from receiver.dicom.reports import CommitmentProvider
from receiver.dicom.status import TEMPORARY_CONGESTION, Rejection

_log = logging.getLogger(__name__)


class Acceptor(Protocol):
    """Who receives what the listener accepts."""

    def rejected(self, rejection: Rejection, *, calling_ae: bytes, called_ae: bytes, peer: str) -> None:
        """An association was rejected; AE titles as on the wire. Called from its thread."""

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> Reception:
        """An association was accepted; AE titles as on the wire. Called from its thread."""


@dataclass(kw_only=True)
class FrontDesk:
    """What all visitors share."""

    ae: AE
    acceptor: Acceptor
    admission: Admission
    negotiation: Negotiation
    timeouts: Timeouts
    commitments: CommitmentProvider | None
    draining: bool = False
    admitting: threading.Lock = field(default_factory=threading.Lock)

    def drain(self) -> None:
        """Admit nobody any more: when this returns, whoever was admitted is known to be."""
        with self.admitting:
            self.draining = True


class Visitor(threading.Thread):
    """A peer's connection, whether or not an association is open on it."""

    def __init__(
        self, desk: FrontDesk, connection: Connection, peer: tuple[Any, ...], changed: Callable[[Visitor], None]
    ) -> None:
        """`changed` is told when an association ended, and once more when the connection is `closed`."""
        super().__init__(name=f"association-{peer[0]}:{peer[1]}", daemon=True)
        self.peer = str(peer[0])
        self.negotiation, self.commitments = desk.negotiation, desk.commitments
        self.closed = False
        self._desk, self._connection, self._peer_name, self._changed = desk, connection, (peer[0], peer[1]), changed
        self._taken: tuple[str, ...] = ()

    @property
    def has_association(self) -> bool:
        """Whether an association is open."""
        return bool(self._taken)

    def stop(self) -> None:
        """End the connection from another thread; an association on it ends as aborted."""
        self._connection.wake()

    def run(self) -> None:
        association = None
        try:
            if self._has_spoken():
                association = ServedAssociation(self._desk.ae, self._connection, self._peer_name, self, self._desk.timeouts)
                association.serve()
        except Exception as error:  # noqa: BLE001 - one association's fault must not touch the others
            extra = association.log_extra if association else {"peer": self.peer}
            _log.error("association failed", extra=extra, exc_info=error)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, and give back what it has taken."""
        self._connection.close()
        self.closed = True
        self.ended()

    # What the association asks of its host (receiver.dicom.host.Host).

    def admit(self, request: AssociateRq) -> Rejection | None:
        desk = self._desk
        with desk.admitting:
            answer = TEMPORARY_CONGESTION if desk.draining else desk.admission.admit(request, self.peer)
            if not isinstance(answer, Rejection):
                self._taken = answer
                return None
        desk.acceptor.rejected(answer, calling_ae=request.calling_ae, called_ae=request.called_ae, peer=self.peer)
        return answer

    def may_store(self, calling_ae: bytes) -> bool:
        return self._desk.admission.rules.may_store(calling_ae)

    def accepted(self, *, calling_ae: bytes, called_ae: bytes) -> Reception:
        return self._desk.acceptor.accepted(calling_ae=calling_ae, called_ae=called_ae, peer=self.peer)

    def ended(self) -> None:
        taken, self._taken = self._taken, ()
        if taken:
            self._desk.admission.give_back(taken)
        self._changed(self)

    def _has_spoken(self) -> bool:
        """Do what TLS needs, and wait for the first byte of the association request."""
        artim_seconds = self._desk.timeouts.artim
        try:
            self._connection.handshake(artim_seconds)
            self._connection.unread = self._connection.read(1, time.monotonic() + artim_seconds)
        except ssl.SSLEOFError:
            return False
        except ssl.SSLError as error:
            _log.warning("TLS handshake failed", extra={"peer": self.peer, "error": error.reason or "unknown"})
            return False
        except OSError:
            return False
        return True
