"""DICOM's PDUs and command sets as bytes, in both directions (PS3.8 9.3, PS3.7 6.3). Pure functions, no pynetdicom.

Everything from the wire is untrusted: what does not parse raises `MalformedPduError`. UIDs and AE titles stay bytes here, since
a peer may propose any; nothing but their padding is interpreted.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from receiver.dicom.items import MalformedPduError, Roles, UserInformation, item, items

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)  # PS3.8 9.3.1
HEADER_BYTES = 6  # type, reserved, length
PDV_HEADER_BYTES = 6  # length, presentation context id, message control header
COMMAND, LAST = 0x01, 0x02  # message control header, PS3.8 E.2

# Command fields, PS3.7 E.1
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_ECHO_RQ, C_ECHO_RSP = 0x0030, 0x8030
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP = 0x0100, 0x8100
N_ACTION_RQ, N_ACTION_RSP = 0x0130, 0x8130
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000
NO_DATA_SET = 0x0101

AFFECTED_SOP_CLASS_UID = 0x0002
COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
PRIORITY = 0x0700
COMMAND_DATA_SET_TYPE = 0x0800
STATUS = 0x0900
OFFENDING_ELEMENT = 0x0901
ERROR_COMMENT = 0x0902
AFFECTED_SOP_INSTANCE_UID = 0x1000
REQUESTED_SOP_INSTANCE_UID = 0x1001
EVENT_TYPE_ID = 0x1002
ACTION_TYPE_ID = 0x1008

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
MAX_PDU_BYTES = 131072
"""What both our sides ask the peer to keep below (PS3.8 D.1): large enough that headers and system calls cost nothing."""
UID_MAX_BYTES = 64  # PS3.5 9.1
_LO_MAX_CHARACTERS = 64  # PS3.5 6.2
_APPLICATION_CONTEXT, _CONTEXT_RQ, _CONTEXT_AC, _USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40

RELEASE_RQ_PDU = struct.pack(">BxIxxxx", RELEASE_RQ, 4)

_FIRST_ELEMENT_AT = 24  # of a command set in its PDU: behind both headers and (0000,0000)
_element_header = struct.Struct("<HHI").unpack_from  # group, element, length


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as proposed: UIDs as on the wire, without padding."""

    context_id: int
    abstract_syntax: bytes
    transfer_syntaxes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The answer to a proposed context; `result` is 0 for acceptance (PS3.8 9.3.3.2)."""

    context_id: int
    result: int
    transfer_syntax: bytes


@dataclass(frozen=True, slots=True)
class AssociateRq:
    """An A-ASSOCIATE-RQ. The AE titles are the 16 bytes of the wire."""

    called_ae: bytes
    calling_ae: bytes
    application_context: bytes
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation

    @classmethod
    def parse(cls, body: bytes) -> AssociateRq:
        """From the bytes after the PDU's header. Raises MalformedPduError."""
        if len(body) < 68:
            raise MalformedPduError("A-ASSOCIATE-RQ shorter than its fixed fields")
        application_context, contexts, user_information = b"", [], UserInformation()
        for kind, value in items(body[68:]):
            if kind == _APPLICATION_CONTEXT:
                application_context = value.rstrip(b"\0 ")
            elif kind == _CONTEXT_RQ:
                contexts.append(_proposed_context(value))
            elif kind == _USER_INFORMATION:
                user_information = UserInformation.parse(value)
        if len({context.context_id for context in contexts}) != len(contexts):
            raise MalformedPduError("A-ASSOCIATE-RQ with a presentation context id twice")
        return cls(body[4:20], body[20:36], application_context, tuple(contexts), user_information)


def associate_rq(
    *,
    called_ae: bytes,
    calling_ae: bytes,
    contexts: Iterable[ProposedContext],
    max_pdu_bytes: int = MAX_PDU_BYTES,
    roles: Mapping[bytes, Roles] | None = None,
) -> bytes:
    """A whole A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles are at most 16 bytes; `roles` are by SOP class UID."""
    context_items = b"".join(
        item(
            _CONTEXT_RQ,
            bytes((context.context_id, 0, 0, 0))
            + item(_ABSTRACT_SYNTAX, context.abstract_syntax)
            + b"".join(item(_TRANSFER_SYNTAX, syntax) for syntax in context.transfer_syntaxes),
        )
        for context in contexts
    )
    user_information = UserInformation(max_pdu_bytes=max_pdu_bytes, roles=roles or {})
    return _associate(ASSOCIATE_RQ, called_ae.ljust(16), calling_ae.ljust(16), context_items, user_information)


def associate_ac(*, request: AssociateRq, results: Iterable[ContextResult], user_information: UserInformation) -> bytes:
    """A whole A-ASSOCIATE-AC (PS3.8 9.3.3), the AE titles returned as they came."""
    context_items = b"".join(
        item(_CONTEXT_AC, bytes((one.context_id, 0, one.result, 0)) + item(_TRANSFER_SYNTAX, one.transfer_syntax))
        for one in results
    )
    return _associate(ASSOCIATE_AC, request.called_ae, request.calling_ae, context_items, user_information)


def parse_associate_ac(body: bytes) -> tuple[dict[int, ContextResult], int]:
    """(results by context id, the peer's largest PDU or 0) of the bytes after the header. Raises MalformedPduError."""
    if len(body) < 68:
        raise MalformedPduError("A-ASSOCIATE-AC shorter than its fixed fields")
    results, user_information = {}, UserInformation()
    for kind, value in items(body[68:]):
        if kind == _CONTEXT_AC:
            if len(value) < 4:
                raise MalformedPduError("presentation context item shorter than its fixed fields")
            syntaxes = [syntax for sub, syntax in items(value[4:]) if sub == _TRANSFER_SYNTAX]
            results[value[0]] = ContextResult(value[0], value[2], syntaxes[0] if syntaxes else b"")
        elif kind == _USER_INFORMATION:
            user_information = UserInformation.parse(value)
    return results, user_information.max_pdu_bytes


def command_elements(data: bytes) -> dict[int, bytes]:
    """Element number -> value of a command set, which is always implicit VR little endian (PS3.7 6.3.1).

    Raises MalformedPduError when it does not end where its last element ends, or holds another group.
    """
    elements, at, end = {}, 0, len(data)
    try:
        while at < end:
            group, element, length = _element_header(data, at)
            start = at + 8
            at = start + length
            if group != 0x0000 or at > end:
                raise MalformedPduError("a command set with another group, or a length beyond its end")
            elements[element] = data[start:at]
    except struct.error:
        raise MalformedPduError("a command set that ends within an element") from None
    return elements


def unsigned_short(elements: dict[int, bytes], number: int) -> int:
    """The value of an element of VR US. Raises MalformedPduError when it is absent or no US."""
    value = elements.get(number, b"")
    if len(value) != 2:
        raise MalformedPduError(f"a command set without a readable (0000,{number:04X})")
    return int.from_bytes(value, "little")


def command_pdu(context_id: int, elements: Sequence[tuple[int, bytes | int]]) -> bytes:
    """A command set, complete in one P-DATA-TF PDU; integers are of VR US."""
    command = _encoded(elements)
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    return p_data_header(len(command), context_id, COMMAND | LAST) + command


def _encoded(elements: Iterable[tuple[int, bytes | int]]) -> bytes:
    encoded = []
    for number, value in elements:
        raw = value.to_bytes(2, "little") if isinstance(value, int) else value + b"\0" * (len(value) % 2)
        encoded += [struct.pack("<HHI", 0, number, len(raw)), raw]
    return b"".join(encoded)


def p_data_header(length: int, context_id: int, control: int) -> bytes:
    """What stands before a fragment of `length` bytes that is alone in its P-DATA-TF PDU (PS3.8 9.3.5)."""
    return struct.pack(">BxIIBB", P_DATA_TF, length + PDV_HEADER_BYTES, length + 2, context_id, control)


def data_pdus(context_id: int, data: bytes, max_pdu_bytes: int) -> bytes:
    """A data set in P-DATA-TF PDUs whose length field is at most `max_pdu_bytes`, 0 for no limit of the peer's."""
    step = max((min(max_pdu_bytes, MAX_PDU_BYTES) or MAX_PDU_BYTES) - PDV_HEADER_BYTES, 1)
    pieces = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
    return b"".join(
        p_data_header(len(piece), context_id, LAST if number == len(pieces) else 0) + piece
        for number, piece in enumerate(pieces, 1)
    )


def store_request(context_id: int, sop_class: bytes, sop_instance: bytes, message_id: int) -> bytes:
    """A C-STORE-RQ of medium priority, which a data set follows (PS3.7 9.3.1.1)."""
    return command_pdu(
        context_id,
        (
            (AFFECTED_SOP_CLASS_UID, sop_class),
            (COMMAND_FIELD, C_STORE_RQ),
            (MESSAGE_ID, message_id),
            (PRIORITY, 0),
            (COMMAND_DATA_SET_TYPE, 1),
            (AFFECTED_SOP_INSTANCE_UID, sop_instance),
        ),
    )


def store_success(context_id: int, sop_class: bytes, sop_instance: bytes, message_id: int) -> bytes:
    """`store_response` with the status 0x0000, put together from what an association's responses share."""
    if len(sop_class) > UID_MAX_BYTES or len(sop_instance) > UID_MAX_BYTES:
        return store_response(context_id, sop_class, sop_instance, message_id, 0)
    before, after = _around_message_id(context_id, sop_class, len(sop_instance))
    return b"".join((before, message_id.to_bytes(2, "little"), after, sop_instance, b"\0" * (len(sop_instance) % 2)))


@functools.lru_cache(maxsize=256)
def _around_message_id(context_id: int, sop_class: bytes, sop_instance_bytes: int) -> tuple[bytes, bytes]:
    """All before the message id, and all from there to the SOP instance."""
    whole = store_response(context_id, sop_class, bytes(sop_instance_bytes), 0, 0)
    at = _FIRST_ELEMENT_AT + len(_encoded(((AFFECTED_SOP_CLASS_UID, sop_class), (COMMAND_FIELD, C_STORE_RSP)))) + 8
    return whole[:at], whole[at + 2 : len(whole) - sop_instance_bytes - sop_instance_bytes % 2]


def store_response(
    context_id: int,
    sop_class: bytes,
    sop_instance: bytes,
    message_id: int,
    status: int,
    *,
    offending_elements: Sequence[int] = (),
    comment: str = "",
) -> bytes:
    """A C-STORE-RSP, to leave in one write (PS3.7 9.3.1.2). `offending_elements` are tags, `comment` is ASCII."""
    elements: list[tuple[int, bytes | int]] = [
        (AFFECTED_SOP_CLASS_UID, sop_class),
        (COMMAND_FIELD, C_STORE_RSP),
        (MESSAGE_ID_BEING_RESPONDED_TO, message_id),
        (COMMAND_DATA_SET_TYPE, NO_DATA_SET),
        (STATUS, status),
    ]
    if offending_elements:
        tags = (struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in offending_elements)
        elements.append((OFFENDING_ELEMENT, b"".join(tags)))
    if comment:
        text = comment.encode("ascii", "replace")[:_LO_MAX_CHARACTERS]
        elements.append((ERROR_COMMENT, text + b" " * (len(text) % 2)))
    elements.append((AFFECTED_SOP_INSTANCE_UID, sop_instance))
    return command_pdu(context_id, elements)


def _associate(
    kind: int, called_ae: bytes, calling_ae: bytes, context_items: bytes, user_information: UserInformation
) -> bytes:
    body = (
        struct.pack(">Hxx16s16s32x", 1, called_ae, calling_ae)
        + item(_APPLICATION_CONTEXT, APPLICATION_CONTEXT)
        + context_items
        + item(_USER_INFORMATION, user_information.encode())
    )
    return struct.pack(">BxI", kind, len(body)) + body


def _proposed_context(value: bytes) -> ProposedContext:
    if len(value) < 4 or value[0] % 2 == 0:
        raise MalformedPduError("a presentation context without an odd id")
    abstract, transfer = b"", []
    for kind, uid in items(value[4:]):
        if kind == _ABSTRACT_SYNTAX:
            abstract = uid.rstrip(b"\0 ")
        elif kind == _TRANSFER_SYNTAX:
            transfer.append(uid.rstrip(b"\0 "))
    return ProposedContext(value[0], abstract, tuple(transfer))
