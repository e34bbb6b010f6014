"""One association: pynetdicom's state machine and services, our P-DATA loop, one thread.

pynetdicom runs two threads for each association, which poll. Here one thread waits for the socket and drives pynetdicom's
parts itself: the state machine (PS3.8 9.2), the PDUs that are not P-DATA, and the services other than storage. Whatever UID
or AE title a peer sends, pynetdicom sees harmless ones: the request is parsed and answered by receiver/dicom/pdu.py.

What is used of pynetdicom's internals, for which tests/unit/receiver/test_pynetdicom_internals.py fails when they change:
`Association._abort_blocking`, `_serve_request`, `_accepted_cx`, `run_reactor`; `ACSE._negotiate_as_acceptor`;
`DULServiceProvider._send`, `_decode_pdu`, `_process_recv_primitive`, `_recv_pdu`, `event_queue`, `to_user_queue`,
`artim_timer`; `AssociationSocket.send`, `_shutdown_socket`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import socket
import threading
import time
from typing import Any, Protocol

from pynetdicom import AE, build_context
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE, P_DATA
from pynetdicom.transport import AddressInformation, AssociationSocket

from contract import Ending
from receiver.dicom import pdu
from receiver.dicom.negotiation import VERIFICATION, negotiate
from receiver.dicom.p_data import PDU_MAX_BYTES, ObjectSink, Outcome, PDataLoop, StoreContext, StoreRequest

# PS3.8 Table 9-10
_CLOSED, _ARTIM_EXPIRED, _INVALID_PDU = "Evt17", "Evt18", "Evt19"
_IDLE, _AWAITING_RQ, _ESTABLISHED, _AWAITING_CLOSE = "Sta1", "Sta2", "Sta6", "Sta13"

_NOT_PRINTABLE = re.compile(rb"[^\x20-\x5b\x5d-\x7e]")

_log = logging.getLogger(__name__)


class Reception(Protocol):
    """What the receiver does with one association."""

    association: str
    """The association id, for log lines."""

    def begin_object(self, request: StoreRequest) -> ObjectSink:
        """A new object. Raises OSError."""

    def end(self, ending: Ending) -> None:
        """The association ended. Called once."""


class Host(Protocol):
    """What the receiver decides about associations. Called from their threads."""

    def admit(self) -> tuple[int, int, int] | None:
        """None to accept one more association, otherwise result, source and reason of the rejection (PS3.8 9.3.4)."""

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> Reception:
        """An association was accepted; AE titles as on the wire."""

    def closed(self, association: ServedAssociation) -> None:
        """The connection is closed, whether or not an association was accepted on it."""


class ServedAssociation(Association):
    """An association that a peer opened."""

    def __init__(self, ae: AE, sock: socket.socket, peer: tuple[Any, ...], host: Host, *, idle_timeout_seconds: float) -> None:
        super().__init__(ae, "acceptor")
        self.name = f"association-{peer[0]}:{peer[1]}"
        self._host, self._peer, self._idle_timeout_seconds = host, str(peer[0]), idle_timeout_seconds
        self.acse = _OurAcse(self)
        self._our_dul = self.dul = _OurDul(self)
        self.acse_timeout = ae.acse_timeout  # its setter reaches into the DUL
        self.network_timeout = ae.network_timeout
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self.set_socket(AssociationSocket(self, client_socket=sock))
        self.acceptor.maximum_length = pdu.MAX_PDU_BYTES
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(sock.getsockname()[:2])
        self.requestor.address_info = AddressInformation.from_tuple((peer[0], peer[1]))
        self.request_pdu: pdu.AssociateRq | None = None
        self._contexts: dict[int, StoreContext | None] = {}
        self._loop = PDataLoop(sock, self._contexts, self._begin_object)
        self._unread = b""  # what the loop read of the PDU that it gave back
        self._reception: Reception | None = None
        self._ending: Ending | None = None
        self._stop_requested = threading.Event()

    # What others call.

    def stop(self) -> None:
        """Abort the association from another thread; it ends as aborted."""
        self._stop_requested.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)  # wakes the thread from its wait; an A-ABORT can still be sent

    def negotiate(self) -> None:
        """Answer the A-ASSOCIATE-RQ. Called by `_OurAcse`."""
        request = self.request_pdu
        assert request is not None  # noqa: S101 - the state machine calls this after a request only
        rejection = self._host.admit()
        if rejection is not None:
            self.acse.send_reject(*rejection)
            _log.warning("association rejected", extra={"peer": self._peer, "result_source_reason": rejection})
            return
        results = [negotiate(context) for context in request.contexts]
        for proposed, result in zip(request.contexts, results, strict=True):
            if result.result != 0:
                continue
            if proposed.abstract_syntax == VERIFICATION:
                context = build_context(VERIFICATION.decode())
                context.context_id, context.result, context._as_scp = proposed.context_id, 0, True
                self._accepted_cx[proposed.context_id] = context
                self._contexts[proposed.context_id] = None
            else:
                self._contexts[proposed.context_id] = StoreContext(result.transfer_syntax)
        self._our_dul.associate_ac = pdu.associate_ac(request=request, results=results, max_pdu_bytes=pdu.MAX_PDU_BYTES)
        self._reception = self._host.accepted(calling_ae=request.calling_ae, called_ae=request.called_ae, peer=self._peer)
        self.acse.send_accept()
        self.is_established = True

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: ARG002 - pynetdicom's signature
        """What pynetdicom's services call to abort: queued here, sent by `_serve`."""
        if not self._sent_abort and not self.is_released:
            self._sent_abort = True
            self._ends_as(Ending.ABORTED)
            self.acse.send_abort(0x00)

    # The thread.

    def run_reactor(self) -> None:
        """The association's life, from the accepted connection to its end."""
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - one association's fault must not touch the others
            _log.error("association failed", extra=self._extra(), exc_info=error)
        finally:
            self._loop.discard()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
            if self._reception is not None:
                self._reception.end(self._ending or Ending.ABORTED)
            self._host.closed(self)

    def _serve(self) -> None:
        state = self.dul.state_machine
        while True:
            self._run_state_machine()
            if state.current_state == _IDLE:
                return
            try:
                self._serve_primitive(self.dul.to_user_queue.get_nowait())
                continue
            except queue.Empty:
                pass
            context_id, message = self.dimse.get_msg(block=False)
            if message is not None and context_id is not None:
                if message.is_valid_request:
                    self._serve_request(message, context_id)
                else:
                    self._malformed(pdu.MalformedPduError("a command without all that it needs"))
            elif state.current_state == _ESTABLISHED:
                self._transfer()
            elif state.current_state == _AWAITING_CLOSE:
                self._wait_for_close()
            else:
                self._read_pdu(self.dul.artim_timer.remaining)

    def _run_state_machine(self) -> None:
        dul = self.dul
        while not dul.event_queue.empty() or dul._process_recv_primitive():
            dul.state_machine.do_action(dul.event_queue.get_nowait())

    def _serve_primitive(self, primitive: object) -> None:
        if isinstance(primitive, A_ASSOCIATE):
            self.requestor.primitive = primitive
            self.acse.negotiate_association()
        elif isinstance(primitive, A_RELEASE):
            self._ends_as(Ending.RELEASED)
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
        elif isinstance(primitive, (A_ABORT, A_P_ABORT)):
            self._ends_as(Ending.ABORTED)  # unless `_transfer` knew better
            self.is_aborted, self.is_established = True, False

    def _transfer(self) -> None:
        """Let the P-DATA loop have the socket."""
        try:
            if self._stop_requested.is_set():
                self._abort_blocking()
                return
            self._sock.settimeout(self._idle_timeout_seconds)
            outcome = self._loop.run()
            if outcome is Outcome.OTHER_PDU:
                self._unread = self._loop.take_leftover()
                self._read_pdu(self._idle_timeout_seconds)
                self._loop.feed(self._unread)
                self._unread = b""
            elif outcome is Outcome.MESSAGE:
                self._give_to_pynetdicom()
            elif self._stop_requested.is_set():
                self._abort_blocking()
            elif outcome is Outcome.IDLE:
                self._ends_as(Ending.IDLE)
                self._abort_blocking()
            else:
                self._ends_as(Ending.LOST)
                self.dul.event_queue.put(_CLOSED)
        except pdu.MalformedPduError as error:
            self._malformed(error)

    def _malformed(self, error: pdu.MalformedPduError) -> None:
        """End the association over what the peer sent, with one log line."""
        _log.warning("association aborted: %s", error, extra=self._extra())
        self._loop.discard()
        self._ends_as(Ending.ABORTED)
        self.dul.event_queue.put(_INVALID_PDU)

    def _give_to_pynetdicom(self) -> None:
        message = self._loop.message
        assert message is not None  # noqa: S101 - Outcome.MESSAGE says so
        fragments: list[Any] = [[message.context_id, bytes((pdu.COMMAND | pdu.LAST,)) + message.command_set]]
        if message.data_set is not None:
            fragments.append([message.context_id, bytes((pdu.LAST,)) + message.data_set])
        primitive = P_DATA()
        primitive.presentation_data_value_list = fragments
        try:
            self.dimse.receive_primitive(primitive)
        except Exception as error:  # noqa: BLE001 - pynetdicom lets any exception out of a command set it cannot decode
            raise pdu.MalformedPduError(f"a command that cannot be decoded ({type(error).__name__})") from None

    def _read_pdu(self, timeout_seconds: float) -> None:
        """Read one PDU and tell the state machine of it."""
        deadline = time.monotonic() + timeout_seconds
        state = self.dul.state_machine.current_state
        try:
            head = self._read(pdu.HEADER_BYTES, deadline)
            body = self._read(_body_length(head, state), deadline)
            if head[0] == pdu.ASSOCIATE_RQ:
                self.request_pdu = pdu.AssociateRq.parse(body)
                decoded, event = self.dul._decode_pdu(bytearray(_harmless(self.request_pdu)))
            else:
                decoded, event = self._decode(head + body)
            self.dul._recv_pdu.put(decoded)
            self.dul.event_queue.put(event)
        except pdu.MalformedPduError as error:
            self._malformed(error)
        except TimeoutError:
            if state == _ESTABLISHED:
                self._ends_as(Ending.IDLE)
                self._abort_blocking()
            else:
                self.dul.event_queue.put(_ARTIM_EXPIRED)
        except OSError:
            self._ends_as(Ending.LOST)
            self.dul.event_queue.put(_CLOSED)

    def _decode(self, raw: bytes) -> tuple[Any, str]:
        try:
            return self.dul._decode_pdu(bytearray(raw))
        except Exception as error:  # noqa: BLE001 - pynetdicom lets any exception out of a PDU that it cannot decode
            raise pdu.MalformedPduError(f"a PDU that cannot be decoded ({type(error).__name__})") from None

    def _read(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes. Raises OSError, TimeoutError at the deadline (monotonic)."""
        data, self._unread = bytearray(self._unread[:count]), self._unread[count:]
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            more = self._sock.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return bytes(data)

    def _wait_for_close(self) -> None:
        """Throw away what still comes, until the peer closes or the ARTIM timer expires (PS3.8 9.2, state 13)."""
        deadline = time.monotonic() + self.dul.artim_timer.remaining
        buffer = bytearray(65536)
        with contextlib.suppress(OSError):
            while not self._stop_requested.is_set() and (left := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if self._sock.recv_into(buffer) == 0:
                    break
        self.dul.event_queue.put(_CLOSED)

    def _begin_object(self, request: StoreRequest) -> ObjectSink:
        assert self._reception is not None  # noqa: S101 - an association that was accepted has one
        return self._reception.begin_object(request)

    def _ends_as(self, ending: Ending) -> None:
        """The first reason counts."""
        if self._ending is None:
            self._ending = ending

    def _extra(self) -> dict[str, object]:
        return {"association": self._reception.association if self._reception else "", "peer": self._peer}


class _OurAcse(ACSE):
    """Negotiates by our own rule."""

    def _negotiate_as_acceptor(self) -> None:
        assert isinstance(self.assoc, ServedAssociation)  # noqa: S101 - for the type
        self.assoc.negotiate()


class _OurDul(DULServiceProvider):
    """Never runs as a thread; sends our A-ASSOCIATE-AC in place of pynetdicom's."""

    associate_ac = b""

    def _send(self, pdu_: Any) -> None:
        if isinstance(pdu_, A_ASSOCIATE_AC) and self.socket is not None:
            self.socket.send(self.associate_ac)
        else:
            super()._send(pdu_)


def _body_length(head: bytes, state: str) -> int:
    length = int.from_bytes(head[2:], "big")
    if head[0] not in (pdu.ABORT, pdu.ASSOCIATE_RQ if state == _AWAITING_RQ else pdu.RELEASE_RQ):
        raise pdu.MalformedPduError("a PDU that does not belong here")
    if length > PDU_MAX_BYTES:
        raise pdu.MalformedPduError("a PDU of impossible length")
    return length


def _harmless(request: pdu.AssociateRq) -> bytes:
    """The request as pynetdicom may see it: no contexts, AE titles of printable ASCII."""
    called, calling = (
        _NOT_PRINTABLE.sub(b"?", title).strip() or b"UNKNOWN" for title in (request.called_ae, request.calling_ae)
    )
    return pdu.associate_rq(called_ae=called, calling_ae=calling, contexts=(), max_pdu_bytes=request.max_pdu_bytes)
