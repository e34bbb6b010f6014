"""The P-DATA loop: moves C-STORE data from the socket to the store, and gives everything else back.

It owns the socket while an association is established (PS3.8, state 6). It reads as much as there is into one buffer, passes
slices of it on without joining them, and answers each object with one write. PDVs may be split anywhere, command sets too,
and several PDVs may share a PDU. Of anything that breaks the protocol it raises MalformedPduError.

An object that does not come to its end (abort, lost peer, idle, malformed) is discarded. One that the disk does not take, or
that its sink refuses, is read to its end and answered 0xA700, or as the sink says.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from receiver.dicom import pdu
from receiver.dicom.connection import Connection
from receiver.dicom.items import MalformedPduError
from receiver.dicom.pace import Pace, SlowestPace
from receiver.dicom.status import UNRECOGNIZED_OPERATION, StoreStatus
from receiver.dicom.storing import ObjectReceiver, ObjectRefusedError, ObjectSink, StoreContext, StoreRequest

BUFFER_BYTES = 256 * 1024
PDU_MAX_BYTES = 1024 * 1024
"""Longest PDU that is read. Senders are asked for at most 128 KiB; some count their headers wrongly."""
COMMAND_SET_MAX_BYTES = 64 * 1024
COMMAND_UID_MAX_BYTES = 512
"""Longest UID in a command with which an object is stored: an association remembers it until it is announced."""
MESSAGE_MAX_BYTES = 8 * 1024 * 1024
"""Longest data set of a message that is not C-STORE, which is kept in memory: a commitment request of some 60,000 objects."""

_GIVEN_BACK = frozenset((pdu.C_ECHO_RQ, pdu.N_ACTION_RQ, pdu.N_EVENT_REPORT_RSP))


class Outcome(enum.Enum):
    """Why the loop gave the socket back."""

    OTHER_PDU = enum.auto()
    """Something that is not P-DATA comes next: `leftover` begins with it."""
    MESSAGE = enum.auto()
    """A message that is not C-STORE: `message`."""
    CLOSED = enum.auto()
    """The peer is gone, or takes no responses."""
    IDLE = enum.auto()
    """Nothing came within the socket's timeout."""
    SLOW = enum.auto()
    """The peer sends a message more slowly than it may."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message that is not C-STORE."""

    context_id: int
    field: int
    command_set: bytes
    data_set: bytes | None


def unrecognized(message: Message) -> bytes:
    """The response to a command that is not served. Raises MalformedPduError when the command has no message id."""
    message_id = pdu.unsigned_short(pdu.command_elements(message.command_set), pdu.MESSAGE_ID)
    return pdu.command_pdu(
        message.context_id,
        (
            (pdu.COMMAND_FIELD, message.field | pdu.RESPONSE),
            (pdu.MESSAGE_ID_BEING_RESPONDED_TO, message_id),
            (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
            (pdu.STATUS, UNRECOGNIZED_OPERATION),
        ),
    )


class PDataLoop:
    """The loop of one association. `run` may be called again after OTHER_PDU and MESSAGE."""

    def __init__(
        self,
        connection: Connection,
        contexts: Mapping[int, StoreContext | None],
        objects: ObjectReceiver,
        slowest: SlowestPace,
    ) -> None:
        """`contexts` has every accepted context, None where nothing may be stored."""
        self._sock, self._send_all = connection.sock, connection.send
        self._contexts, self._objects, self._pace = contexts, objects, Pace(slowest)
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._pdu_left = self._pdv_left = 0
        self._control = self._context_id = 0
        self._command = bytearray()
        self._pending: list[memoryview] = []
        self._request: StoreRequest | None = None
        self._sink: ObjectSink | None = None
        self._refusal: ObjectRefusedError | None = None
        self._other: tuple[int, int, bytes] | None = None  # context id, command field, command set: its data set follows
        self._other_data = bytearray()
        self.message: Message | None = None
        self.received_bytes = 0

    def feed(self, data: bytes) -> None:
        """Bytes that were read before the loop had the socket."""
        self._view[: len(data)] = data
        self._start, self._end = 0, len(data)

    def take_leftover(self) -> bytes:
        """The bytes that were read and not used, for whoever has the socket next."""
        data = bytes(self._view[self._start : self._end])
        self._start = self._end = 0
        return data

    def discard(self) -> None:
        """Forget an object that did not end."""
        if self._sink is not None:
            self._sink.discard()
        self._sink = self._request = self._refusal = None
        self._pending.clear()

    def run(self) -> Outcome:
        """Move data until something else is to be done. Raises MalformedPduError."""
        while True:
            outcome = self._use_buffer()
            if outcome is not None:
                return outcome
            if self._pending:
                self._flush()
            self._make_room()
            within_message = not self.is_between_messages
            asked_at = monotonic()
            try:
                count = self._sock.recv_into(self._view[self._end :] if self._end else self._view)
            except (TimeoutError, BlockingIOError):  # as Connection.wait_at_most says
                too_slow = within_message and self._pace.is_too_slow(0, monotonic() - asked_at)
                return Outcome.SLOW if too_slow else Outcome.IDLE
            except OSError:
                return Outcome.CLOSED
            if count == 0:
                return Outcome.CLOSED
            self._end += count
            self.received_bytes += count
            if not within_message:
                self._pace.begin()
            elif self._pace.is_too_slow(count, monotonic() - asked_at):
                return Outcome.SLOW

    def _make_room(self) -> None:
        """Move what is not used yet, the beginning of a header, to the buffer's begin."""
        rest = self._end - self._start
        if rest:
            self._view[:rest] = self._view[self._start : self._end]
        self._start, self._end = 0, rest

    @property
    def is_between_messages(self) -> bool:
        """Whether the peer owes nothing of a message that it began."""
        return not (
            self._end > self._start or self._pdu_left or self._pdv_left or self._request or self._command or self._other
        )

    def _use_buffer(self) -> Outcome | None:
        """Use what the buffer holds. None when more has to be read."""
        while True:
            available = self._end - self._start
            if self._pdv_left:
                if not available:
                    return None
                count = min(self._pdv_left, available)
                self._take(self._view[self._start : self._start + count])
                self._start += count
                self._pdv_left -= count
            elif available < pdu.HEADER_BYTES:  # a PDV's header is as long
                return None
            elif self._pdu_left:
                self._begin_pdv()
            elif self._buffer[self._start] != pdu.P_DATA_TF:
                if self._request is not None and self._buffer[self._start] != pdu.ABORT:
                    raise MalformedPduError("another PDU where a data set was to go on")
                self.discard()
                return Outcome.OTHER_PDU
            else:
                self._begin_pdu()
                continue
            if not self._pdv_left and self._control & pdu.LAST:
                outcome = self._end_command() if self._control & pdu.COMMAND else self._end_data()
                if outcome is not None:
                    return outcome

    def _begin_pdu(self) -> None:
        (self._pdu_left,) = struct.unpack_from(">I", self._buffer, self._start + 2)
        self._start += pdu.HEADER_BYTES
        if not pdu.PDV_HEADER_BYTES <= self._pdu_left <= PDU_MAX_BYTES:
            raise MalformedPduError("a P-DATA-TF of impossible length")

    def _begin_pdv(self) -> None:
        length, self._context_id, self._control = struct.unpack_from(">IBB", self._buffer, self._start)
        self._start += pdu.PDV_HEADER_BYTES
        self._pdu_left -= 4 + length
        if length < 2 or self._pdu_left < 0 or 0 < self._pdu_left < pdu.PDV_HEADER_BYTES:
            raise MalformedPduError("a PDV whose length does not fit into its PDU")
        self._pdv_left = length - 2

    def _take(self, fragment: memoryview) -> None:
        """A piece of the fragment whose header was read last."""
        if self._control & pdu.COMMAND:
            if self._request is not None or self._other is not None:
                raise MalformedPduError("a command set where a data set was to go on")
            self._command += fragment
            if len(self._command) > COMMAND_SET_MAX_BYTES:
                raise MalformedPduError("a command set of more than 64 KiB")
        elif self._request is not None:
            if self._context_id != self._request.context_id:
                raise MalformedPduError("a data set in another presentation context than its command")
            if self._sink is not None:
                self._pending.append(fragment)
        elif self._other is not None:
            self._other_data += fragment
            if len(self._other_data) > MESSAGE_MAX_BYTES:
                raise MalformedPduError("a message of more than 8 MiB that is no C-STORE")
        else:
            raise MalformedPduError("a data set without a command")

    def _flush(self) -> None:
        if self._sink is not None:
            try:
                self._sink.write(self._pending)
            except (OSError, ObjectRefusedError) as error:
                self._refuse(error)
        self._pending.clear()

    def _refuse(self, error: OSError | ObjectRefusedError) -> None:
        """The object is not kept: the rest of it is read and thrown away."""
        self._sink = None
        self._refusal = error if isinstance(error, ObjectRefusedError) else ObjectRefusedError(StoreStatus.OUT_OF_RESOURCES)

    def _end_command(self) -> Outcome | None:
        if self._request is not None or self._other is not None:
            raise MalformedPduError("a command set where a data set was to go on")
        raw, self._command = bytes(self._command), bytearray()
        elements = pdu.command_elements(raw)
        field = pdu.unsigned_short(elements, pdu.COMMAND_FIELD)
        has_data_set = pdu.unsigned_short(elements, pdu.COMMAND_DATA_SET_TYPE) != pdu.NO_DATA_SET
        if self._context_id not in self._contexts:
            raise MalformedPduError("a message in a presentation context that was not accepted")
        if field != pdu.C_STORE_RQ:
            if field & pdu.RESPONSE and field not in _GIVEN_BACK:
                raise MalformedPduError("a response to nothing")
            self._other = self._context_id, field, raw
            return None if has_data_set else self._end_other(None)
        context = self._contexts[self._context_id]
        self._request = StoreRequest(
            context_id=self._context_id,
            message_id=pdu.unsigned_short(elements, pdu.MESSAGE_ID),
            sop_class=elements.get(pdu.AFFECTED_SOP_CLASS_UID, b""),
            sop_instance=elements.get(pdu.AFFECTED_SOP_INSTANCE_UID, b""),
            transfer_syntax=context.transfer_syntax if context else b"",
        )
        if not has_data_set:
            self._refusal = ObjectRefusedError(StoreStatus.CANNOT_UNDERSTAND, comment="no data set")
            return self._answer()
        if context is None:
            self._refusal = ObjectRefusedError(StoreStatus.SOP_CLASS_NOT_SUPPORTED)
            return None
        if max(len(self._request.sop_class), len(self._request.sop_instance)) > COMMAND_UID_MAX_BYTES:
            self._refusal = ObjectRefusedError(StoreStatus.CANNOT_UNDERSTAND, comment="a UID of the command is too long")
            return None
        try:
            self._sink = self._objects.begin_object(self._request)
        except (OSError, ObjectRefusedError) as error:
            self._refuse(error)
        return None

    def _end_data(self) -> Outcome | None:
        if self._other is not None:
            data, self._other_data = bytes(self._other_data), bytearray()
            return self._end_other(data)
        if self._request is None:
            raise MalformedPduError("a data set without a command")
        if self._context_id != self._request.context_id:
            raise MalformedPduError("a data set in another presentation context than its command")
        if self._pending:
            self._flush()
        if self._sink is not None:
            try:
                self._sink.commit()
            except (OSError, ObjectRefusedError) as error:
                self._refuse(error)
        return self._answer()

    def _answer(self) -> Outcome | None:
        request, self._request, self._sink = self._request, None, None
        assert request is not None  # noqa: S101 - the callers checked
        answered = request.context_id, request.sop_class, request.sop_instance, request.message_id
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            return self._send(pdu.store_success(*answered))
        self._objects.refused(refusal.status)
        return self._send(
            pdu.store_response(
                *answered, refusal.status, offending_elements=refusal.offending_elements, comment=refusal.comment
            )
        )

    def _end_other(self, data_set: bytes | None) -> Outcome | None:
        assert self._other is not None  # noqa: S101 - the callers checked
        (context_id, field, command_set), self._other = self._other, None
        message = Message(context_id, field, command_set, data_set)
        if field in _GIVEN_BACK:
            self.message = message
            return Outcome.MESSAGE
        if field == pdu.C_CANCEL_RQ:  # has no response, and nothing of ours can be cancelled
            return None
        return self._send(unrecognized(message))

    def _send(self, data: bytes) -> Outcome | None:
        try:
            self._send_all(data)
        except OSError:  # a peer that takes nothing for too long is gone too: what follows half a response means nothing
            return Outcome.CLOSED
        return None
