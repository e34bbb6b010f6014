"""Reports a commitment result over an association that the receiver opens, as the SCP (PS3.4 J.3.3, PS3.7 D.3.3.4)."""

from __future__ import annotations

import ssl

from receiver.dicom import pdu
from receiver.dicom.client import (
    CONTEXT_RESULTS,
    Address,
    NotAssociatedError,
    associate,
    connect,
    release,
    response_status,
)
from receiver.dicom.commitment import CommitmentResult, event_report
from receiver.dicom.items import MalformedPduError, Roles
from receiver.dicom.negotiation import EXPLICIT_VR, IMPLICIT_VR, STORAGE_COMMITMENT
from receiver.dicom.reports import ReportPeer

_CONTEXT_ID, _MESSAGE_ID = 1, 1


class NotReportedError(Exception):
    """The peer did not answer; the text says why and holds nothing from the wire."""


def report(
    address: Address, peer: ReportPeer, result: CommitmentResult, *, timeout_seconds: float, tls: ssl.SSLContext | None
) -> int:
    """The status of the peer's answer. `timeout_seconds` bounds the connect and each wait. Raises NotReportedError."""
    request = pdu.associate_rq(
        called_ae=peer.calling_ae.encode("latin-1")[:16],
        calling_ae=peer.called_ae.encode("latin-1")[:16],  # by which the peer knows us
        contexts=[pdu.ProposedContext(_CONTEXT_ID, STORAGE_COMMITMENT, (EXPLICIT_VR, IMPLICIT_VR))],
        roles={STORAGE_COMMITMENT: Roles(scu=False, scp=True)},
    )
    try:
        with connect(address, timeout_seconds, tls) as sock:
            results, max_pdu_bytes = associate(sock, request)
            answer = results.get(_CONTEXT_ID)
            if answer is None or answer.result != 0 or answer.transfer_syntax not in {EXPLICIT_VR, IMPLICIT_VR}:
                release(sock)
                raise NotReportedError(f"storage commitment refused: {CONTEXT_RESULTS.get(answer.result if answer else -1)}")
            sock.sendall(event_report(_CONTEXT_ID, _MESSAGE_ID, result, answer.transfer_syntax, max_pdu_bytes))
            status = response_status(sock, _MESSAGE_ID)
            release(sock)
            return status
    except OSError as error:
        raise NotReportedError(error.strerror or type(error).__name__) from None
    except (NotAssociatedError, MalformedPduError) as error:
        raise NotReportedError(str(error)) from None
