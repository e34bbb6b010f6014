"""What an association asks of the receiver around it, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contract import Ending
from receiver.dicom.negotiation import Negotiation
from receiver.dicom.pace import SlowestPace
from receiver.dicom.pdu import AssociateRq
from receiver.dicom.reports import CommitmentProvider
from receiver.dicom.status import Rejection, StoreStatus
from receiver.dicom.storing import ObjectReceiver, ObjectRefusedError, ObjectSink, StoreRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a peer is waited for, in seconds."""

    idle: float
    """In an association."""
    artim: float
    """For a TLS handshake, for a request, and for the peer to close (PS3.8 9.1.5)."""
    dimse: float
    """For the response to a request of ours."""
    slowest: SlowestPace
    """Within a message."""


class Reception(ObjectReceiver, Protocol):
    """What the receiver does with one association."""

    association: str
    """The association id, for log lines."""

    def end(self, ending: Ending) -> None:
        """The association ended. Called once."""


class Host(Protocol):
    """What the receiver decides about associations. Called from their threads."""

    @property
    def negotiation(self) -> Negotiation:
        """How presentation contexts are answered."""

    @property
    def peer(self) -> str:
        """The peer's address, for log lines."""

    @property
    def commitments(self) -> CommitmentProvider | None:
        """Who commits, where somebody does."""

    def admit(self, request: AssociateRq) -> Rejection | None:
        """Accept the association, or reject it."""

    def may_store(self, calling_ae: bytes) -> bool:
        """Whether the objects of this AE are taken."""

    def accepted(self, *, calling_ae: bytes, called_ae: bytes) -> Reception:
        """The association was accepted; AE titles as on the wire."""

    def ended(self) -> None:
        """The accepted association ended; its connection may be open for a moment yet."""


class NotAuthorized:
    """Refuses the objects of a peer that may open associations, to verify for example, and store nothing."""

    def __init__(self, reception: Reception) -> None:
        self.refused = reception.refused

    def begin_object(self, _request: StoreRequest) -> ObjectSink:
        raise ObjectRefusedError(StoreStatus.NOT_AUTHORIZED)
