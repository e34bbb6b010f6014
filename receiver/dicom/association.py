"""One association: pynetdicom's state machine and services, our P-DATA loop, one thread.

pynetdicom runs two threads for each association, which poll. Here one thread waits for the socket and drives pynetdicom's
parts itself: the state machine (PS3.8 9.2) and the PDUs that are not P-DATA. Messages are ours (receiver/dicom/p_data.py and
services.py). Whatever UID or AE title a peer sends, pynetdicom sees harmless ones: the request is parsed and answered by
receiver/dicom/pdu.py.

What is used of pynetdicom's internals, for which tests/unit/receiver/test_pynetdicom_internals.py fails when they change:
`Association._abort_blocking`; `ACSE._negotiate_as_acceptor`;
`DULServiceProvider._send`, `_decode_pdu`, `_process_recv_primitive`, `_recv_pdu`, `event_queue`, `to_user_queue`,
`artim_timer`; `AssociationSocket.send`, `_shutdown_socket`.
"""

from __future__ import annotations

import logging
import queue
import time
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE
from pynetdicom.transport import AddressInformation, AssociationSocket

from contract import Ending
from receiver.dicom import machine, pdu
from receiver.dicom.admission import ae_title
from receiver.dicom.connection import Connection
from receiver.dicom.host import Host, NotAuthorized, Reception, Timeouts
from receiver.dicom.items import MalformedPduError
from receiver.dicom.negotiation import Service, service_of
from receiver.dicom.p_data import PDU_MAX_BYTES, Outcome, PDataLoop
from receiver.dicom.reports import ReportPeer, Reports
from receiver.dicom.services import AcceptedContext, Services
from receiver.dicom.status import ContextResult
from receiver.dicom.storing import StoreContext

_REPORTS_EVERY_SECONDS = 0.2
"""How long a peer must be silent before a commitment result is sent to it."""

_log = logging.getLogger(__name__)


class ServedAssociation(Association):
    """An association that a peer opens. pynetdicom makes it a thread, which is never started: `serve` is called in one."""

    def __init__(self, ae: AE, connection: Connection, peer_name: tuple[str, int], host: Host, timeouts: Timeouts) -> None:
        """Raises OSError when the peer is gone already."""
        super().__init__(ae, "acceptor")
        self._connection, self._host, self._timeouts = connection, host, timeouts
        self.acse = machine.OurAcse(self, self._negotiate)
        self._our_dul = self.dul = machine.OurDul(self)
        self.acse_timeout = timeouts.artim  # its setter reaches into the DUL
        self.network_timeout = timeouts.idle
        self.set_socket(AssociationSocket(self, client_socket=connection.sock))
        self.acceptor.maximum_length = pdu.MAX_PDU_BYTES
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(connection.sock.getsockname()[:2])
        self.requestor.address_info = AddressInformation.from_tuple(peer_name)
        self._request: pdu.AssociateRq | None = None
        self._loop: PDataLoop | None = None  # once there is an association, as is the next
        self._services: Services | None = None
        self._reception: Reception | None = None
        self._ending: Ending | None = None

    def serve(self) -> None:
        """The association's life, from its request to its end."""
        try:
            self._serve()
        finally:
            self._end()

    @property
    def log_extra(self) -> dict[str, object]:
        """What a log line of this association says of it."""
        return {"association": self._reception.association if self._reception else "", "peer": self._host.peer}

    def _negotiate(self) -> None:
        """Answer the A-ASSOCIATE-RQ. Called by pynetdicom's ACSE."""
        request = self._request
        assert request is not None  # noqa: S101 - the state machine calls this after a request only
        rejection = self._host.admit(request)
        if rejection is not None:
            self.acse.send_reject(*rejection)
            return
        results, user_information = self._host.negotiation.answer(request)
        contexts = {}
        for proposed, result in zip(request.contexts, results, strict=True):
            service = service_of(proposed.abstract_syntax)
            if result.result == ContextResult.ACCEPTANCE and service is not None:
                contexts[proposed.context_id] = AcceptedContext(service, result.transfer_syntax)
        self._our_dul.associate_ac = pdu.associate_ac(request=request, results=results, user_information=user_information)
        reception = self._host.accepted(calling_ae=request.calling_ae, called_ae=request.called_ae)
        self._reception = reception
        stored = {
            number: StoreContext(context.transfer_syntax) if context.service is Service.STORAGE else None
            for number, context in contexts.items()
        }
        objects = reception if self._host.may_store(request.calling_ae) else NotAuthorized(reception)
        self._loop = PDataLoop(self._connection, stored, objects, self._timeouts.slowest)
        self._services = Services(contexts, self._host.commitments, self._reports(request, contexts, reception.association))
        self.acse.send_accept()
        self.is_established = True

    def _reports(self, request: pdu.AssociateRq, contexts: dict[int, AcceptedContext], association: str) -> Reports | None:
        """For commitment results, where the peer knows the class that they belong to."""
        for number, context in contexts.items():
            if context.service is Service.COMMITMENT:
                peer = ReportPeer(
                    association=association, calling_ae=ae_title(request.calling_ae), called_ae=ae_title(request.called_ae)
                )
                return Reports(
                    peer,
                    context_id=number,
                    transfer_syntax=context.transfer_syntax,
                    max_pdu_bytes=request.user_information.max_pdu_bytes,
                    dimse_seconds=self._timeouts.dimse,
                )
        return None

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: ARG002 - pynetdicom's signature
        """What pynetdicom's services call to abort: queued here, sent by `_serve`."""
        if not self._sent_abort and not self.is_released:
            self._sent_abort = True
            self._ends_as(Ending.ABORTED)
            self.acse.send_abort(0x00)

    def _end(self) -> None:
        """Nothing more comes of this association."""
        if self._loop is not None:
            self._loop.discard()
        services, self._services = self._services, None
        if services is not None:
            services.close()
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.end(self._ending or Ending.ABORTED)
            self._host.ended()

    def _serve(self) -> None:
        state = self.dul.state_machine
        while True:
            self._run_state_machine()
            if state.current_state == machine.IDLE:
                return
            try:
                self._serve_primitive(self.dul.to_user_queue.get_nowait())
                continue
            except queue.Empty:
                pass
            if state.current_state == machine.ESTABLISHED:
                self._transfer()
            elif state.current_state == machine.AWAITING_CLOSE:
                self._wait_for_close()
            else:
                self._read_pdu(self.dul.artim_timer.remaining)

    def _run_state_machine(self) -> None:
        dul = self.dul
        while not dul.event_queue.empty() or dul._process_recv_primitive():
            event = dul.event_queue.get_nowait()
            if event == machine.CLOSED and dul.state_machine.current_state == machine.IDLE:
                continue  # a failed send says so once more
            dul.state_machine.do_action(event)

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
        loop, services, connection = self._loop, self._services, self._connection
        assert loop is not None and services is not None  # noqa: S101, PT018 - made when the association was accepted
        try:
            if connection.was_woken():
                self._abort_blocking()
                return
            outcome = self._run(loop, services.reports)
            if outcome is Outcome.OTHER_PDU:
                connection.unread = loop.take_leftover()
                self._read_pdu(self._timeouts.idle)
                loop.feed(connection.unread)
                connection.unread = b""
            elif outcome is Outcome.MESSAGE:
                assert loop.message is not None  # noqa: S101 - Outcome.MESSAGE says so
                connection.send(services.answer(loop.message))
            elif connection.was_woken():
                self._abort_blocking()
            elif outcome is Outcome.IDLE:
                self._ends_as(Ending.IDLE)
                self._abort_blocking()
            elif outcome is Outcome.SLOW:
                _log.warning("association aborted: the peer sends too slowly", extra=self.log_extra)
                self._abort_blocking()
            else:
                self._ends_as(Ending.LOST)
                self.dul.event_queue.put(machine.CLOSED)
        except MalformedPduError as error:
            self._malformed(error)
        except OSError:
            self._ends_as(Ending.LOST)
            self.dul.event_queue.put(machine.CLOSED)

    def _run(self, loop: PDataLoop, reports: Reports | None) -> Outcome:
        """Run the loop until something is to be done, which IDLE is when the peer was silent for as long as it may be.

        Commitment results are sent meanwhile. Raises OSError.
        """
        connection, received_bytes = self._connection, loop.received_bytes
        heard_at, at_most = time.monotonic(), min(self._timeouts.idle, self._timeouts.slowest.seconds)
        connection.send_within(self._timeouts.idle)
        while True:
            patience = connection.wait_at_most(at_most if reports is None else _REPORTS_EVERY_SECONDS)
            outcome = loop.run()
            now = time.monotonic()
            if loop.received_bytes != received_bytes:
                received_bytes, heard_at = loop.received_bytes, now - patience
            if outcome is not Outcome.IDLE or connection.was_woken():
                return outcome
            if reports is not None and loop.is_between_messages:
                if message := reports.next_message(now):
                    connection.send(message)
                if reports.are_expected:
                    heard_at = now
            if now - heard_at >= self._timeouts.idle:
                return Outcome.IDLE

    def _malformed(self, error: MalformedPduError) -> None:
        """End the association over what the peer sent, with one log line."""
        _log.warning("association aborted: %s", error, extra=self.log_extra)
        self._ends_as(Ending.ABORTED)
        self.dul.event_queue.put(machine.INVALID_PDU)

    def _read_pdu(self, timeout_seconds: float) -> None:
        """Read one PDU and tell the state machine of it."""
        deadline = time.monotonic() + timeout_seconds
        state = self.dul.state_machine.current_state
        try:
            head = self._connection.read(pdu.HEADER_BYTES, deadline)
            body = self._connection.read(_body_length(head, state), deadline)
            if head[0] == pdu.ASSOCIATE_RQ:
                self._request = pdu.AssociateRq.parse(body)
                decoded, event = self.dul._decode_pdu(bytearray(machine.harmless(self._request)))
            else:
                decoded, event = self._decode(head + body)
            self.dul._recv_pdu.put(decoded)
            self.dul.event_queue.put(event)
        except MalformedPduError as error:
            self._malformed(error)
        except TimeoutError:
            if state == machine.ESTABLISHED:
                self._ends_as(Ending.IDLE)
                self._abort_blocking()
            else:
                self.dul.event_queue.put(machine.ARTIM_EXPIRED)
        except OSError:
            self._ends_as(Ending.LOST)
            self.dul.event_queue.put(machine.CLOSED)

    def _decode(self, raw: bytes) -> tuple[Any, str]:
        try:
            return self.dul._decode_pdu(bytearray(raw))
        except Exception as error:  # noqa: BLE001 - pynetdicom lets any exception out of a PDU that it cannot decode
            raise MalformedPduError(f"a PDU that cannot be decoded ({type(error).__name__})") from None

    def _wait_for_close(self) -> None:
        """PS3.8 9.2, state 13."""
        self._end()
        self._connection.discard_until_closed(time.monotonic() + self.dul.artim_timer.remaining)
        self.dul.event_queue.put(machine.CLOSED)

    def _ends_as(self, ending: Ending) -> None:
        """The first reason counts."""
        if self._ending is None:
            self._ending = ending


def _body_length(head: bytes, state: str) -> int:
    length = int.from_bytes(head[2:], "big")
    if head[0] not in (pdu.ABORT, pdu.ASSOCIATE_RQ if state == machine.AWAITING_RQ else pdu.RELEASE_RQ):
        raise MalformedPduError("a PDU that does not belong here")
    if length > PDU_MAX_BYTES:
        raise MalformedPduError("a PDU of impossible length")
    return length
