"""`echo AE`: C-ECHO (PS3.7 9.1.5) to a peer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping

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
from receiver.dicom.items import MalformedPduError
from receiver.dicom.negotiation import IMPLICIT_VR, VERIFICATION
from receiver.gateway.errors import GatewayError

_CONTEXT_ID, _MESSAGE_ID, _NO_DATA_SET = 1, 1, 0x0101


def address_of(ae: str, peers: Mapping[str, Address]) -> tuple[str, Address]:
    """(AE title, where it listens), from AE@HOST:PORT or from the table of peers. Raises GatewayError."""
    title, at, address = ae.partition("@")
    host, _, port = address.rpartition(":")
    if not at:
        if ae not in peers:
            raise GatewayError(f"{ae} is not in AHI_INGEST_COMMITMENT_PEERS: give its address, as {ae}@HOST:PORT")
        return ae, Address(*peers[ae])
    if not title or not host or not port.isdecimal():
        raise GatewayError("expected AE@HOST:PORT")
    return title, Address(host.strip("[]"), int(port))


def verify(
    address: Address, *, called_ae: str, calling_ae: str, timeout_seconds: float, tls: ssl.SSLContext | None = None
) -> float:
    """How many seconds the answer took, the association's opening left out. Raises GatewayError."""
    request = pdu.associate_rq(
        called_ae=called_ae.encode("latin-1")[:16],
        calling_ae=calling_ae.encode("latin-1"),
        contexts=[pdu.ProposedContext(_CONTEXT_ID, VERIFICATION, (IMPLICIT_VR,))],
    )
    command = (
        (pdu.AFFECTED_SOP_CLASS_UID, VERIFICATION),
        (pdu.COMMAND_FIELD, pdu.C_ECHO_RQ),
        (pdu.MESSAGE_ID, _MESSAGE_ID),
        (pdu.COMMAND_DATA_SET_TYPE, _NO_DATA_SET),
    )
    try:
        with connect(address, timeout_seconds, tls) as sock:
            answer = associate(sock, request)[0].get(_CONTEXT_ID)
            if answer is None or answer.result != 0:
                release(sock)
                raise GatewayError(f"the peer does not verify: {CONTEXT_RESULTS.get(answer.result if answer else -1)}")
            began = time.monotonic()
            sock.sendall(pdu.command_pdu(_CONTEXT_ID, command))
            status = response_status(sock, _MESSAGE_ID)
            seconds = time.monotonic() - began
            release(sock)
    except OSError as error:
        raise GatewayError(f"no answer from {address.host}:{address.port}: {error.strerror or error}") from None
    except (NotAssociatedError, MalformedPduError) as error:
        raise GatewayError(str(error)) from None
    if status != 0:
        raise GatewayError(f"the peer answered 0x{status:04X}")
    return seconds
