"""What a peer does that opens an association: request it, wait for responses, release it. The socket's timeout bounds waits."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import NamedTuple

from receiver.dicom import pdu
from receiver.dicom.items import MalformedPduError

_LARGEST_ANSWER_BYTES = 1024 * 1024

CONTEXT_RESULTS = {  # PS3.8 9.3.3.2
    1: "user rejection",
    2: "no reason given",
    3: "abstract syntax (SOP class) not supported",
    4: "transfer syntaxes not supported",
}
_REJECTIONS = {  # (source, reason), PS3.8 9.3.4
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class Address(NamedTuple):
    """Where an AE listens, and whether over TLS."""

    host: str
    port: int
    tls: bool = False


class NotAssociatedError(Exception):
    """The peer did not accept the association; the text says why."""


def connect(address: Address, timeout_seconds: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection whose every wait takes at most that long; `tls` is used where the address asks for it. Raises OSError."""
    sock = socket.create_connection((address.host, address.port), timeout_seconds)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not address.tls:
            return sock
        assert tls is not None  # noqa: S101 - made where any address asks for it
        return tls.wrap_socket(sock, server_hostname=address.host)
    except OSError:
        sock.close()
        raise


def associate(sock: socket.socket, request: bytes) -> tuple[dict[int, pdu.ContextResult], int]:
    """(results by context id, the peer's largest PDU or 0). Raises NotAssociatedError, OSError, MalformedPduError."""
    sock.sendall(request)
    kind, body = _receive_pdu(sock)
    if kind == pdu.ASSOCIATE_RJ and len(body) >= 4:
        why = _REJECTIONS.get((body[2], body[3]), "reason unknown")
        raise NotAssociatedError(f"association rejected {body[1]}/{body[2]}/{body[3]} ({why})")
    if kind != pdu.ASSOCIATE_AC:
        raise NotAssociatedError("the peer aborted the association")
    return pdu.parse_associate_ac(body)


def release(sock: socket.socket) -> None:
    """Release the association, and wait for the answer whatever it is."""
    with contextlib.suppress(OSError, MalformedPduError):
        sock.sendall(pdu.RELEASE_RQ_PDU)
        _receive_pdu(sock)


def response_status(sock: socket.socket, message_id: int) -> int:
    """The status of the response to `message_id`. Raises OSError or MalformedPduError when something else comes."""
    command = bytearray()
    while True:
        kind, body = _receive_pdu(sock)
        if kind == pdu.ABORT:
            raise ConnectionAbortedError("the peer aborted the association")
        if kind != pdu.P_DATA_TF:
            raise MalformedPduError(f"PDU type {kind} in place of a response")
        at = 0
        while at < len(body):
            if at + pdu.PDV_HEADER_BYTES > len(body):
                raise MalformedPduError("a PDV that ends within its header")
            length, _, control = struct.unpack_from(">IBB", body, at)
            command += body[at + 6 : at + 4 + length]
            at += 4 + max(length, 2)
            if control & pdu.LAST:
                elements = pdu.command_elements(bytes(command))
                if pdu.unsigned_short(elements, pdu.MESSAGE_ID_BEING_RESPONDED_TO) != message_id:
                    raise MalformedPduError("a response to another message")
                return pdu.unsigned_short(elements, pdu.STATUS)


def _receive_pdu(sock: socket.socket) -> tuple[int, bytes]:
    head = _receive(sock, pdu.HEADER_BYTES)
    length = int.from_bytes(head[2:], "big")
    if length > _LARGEST_ANSWER_BYTES:
        raise MalformedPduError("an answer of more than 1 MiB")
    return head[0], _receive(sock, length)


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError("the peer closed the connection")
        data += chunk
    return data
