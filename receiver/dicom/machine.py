"""pynetdicom's state machine as `ServedAssociation` runs it: events and states by name, and the two parts that are replaced."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_AC

from receiver.dicom import pdu

# PS3.8 Table 9-10
CLOSED, ARTIM_EXPIRED, INVALID_PDU = "Evt17", "Evt18", "Evt19"
IDLE, AWAITING_RQ, ESTABLISHED, AWAITING_CLOSE = "Sta1", "Sta2", "Sta6", "Sta13"

_NOT_PRINTABLE = re.compile(rb"[^\x20-\x5b\x5d-\x7e]")


class OurAcse(ACSE):
    """Negotiates by our own rule."""

    def __init__(self, association: Association, negotiate: Callable[[], None]) -> None:
        super().__init__(association)
        self._negotiate = negotiate

    def _negotiate_as_acceptor(self) -> None:
        self._negotiate()


class OurDul(DULServiceProvider):
    """Never runs as a thread; sends our A-ASSOCIATE-AC in place of pynetdicom's."""

    associate_ac = b""

    def _send(self, pdu_: Any) -> None:
        if isinstance(pdu_, A_ASSOCIATE_AC) and self.socket is not None:
            self.socket.send(self.associate_ac)
        else:
            super()._send(pdu_)


def harmless(request: pdu.AssociateRq) -> bytes:
    """The request as pynetdicom may see it: no contexts, AE titles of printable ASCII."""
    called, calling = (
        _NOT_PRINTABLE.sub(b"?", title).strip() or b"UNKNOWN" for title in (request.called_ae, request.calling_ae)
    )
    max_pdu_bytes = request.user_information.max_pdu_bytes
    return pdu.associate_rq(called_ae=called, calling_ae=calling, contexts=(), max_pdu_bytes=max_pdu_bytes)
