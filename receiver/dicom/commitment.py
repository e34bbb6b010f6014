"""The messages of the Storage Commitment Push Model (PS3.4 Annex J): an N-ACTION's request, an N-EVENT-REPORT's result.

UIDs are text as contract.uids reads it from the wire, whatever it holds.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from contract.uids import uid_from_wire
from receiver.dicom import pdu
from receiver.dicom.negotiation import EXPLICIT_VR, STORAGE_COMMITMENT
from receiver.dicom.status import ActionStatus, FailureReason

SOP_INSTANCE = b"1.2.840.10008.1.20.1.1"  # the one instance of the class, PS3.4 J.3.5
_REQUEST_STORAGE_COMMITMENT = 1  # action type, PS3.4 J.3.2
_SUCCESSFUL, _FAILURES_EXIST = 1, 2  # event types, PS3.4 J.3.3

_TRANSACTION_UID, _FAILED_SOP_SEQUENCE, _REFERENCED_SOP_SEQUENCE = 0x00081195, 0x00081198, 0x00081199
_REFERENCED_SOP_CLASS_UID, _REFERENCED_SOP_INSTANCE_UID, _FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197
_ITEM = 0xFFFEE000


class BadRequestError(Exception):
    """A request that is answered with `status`, and nothing is remembered of it."""

    def __init__(self, status: ActionStatus) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reference:
    """An object, named by its UIDs."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a peer asks to be kept."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """What is kept of it, and what is not and why."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, FailureReason], ...]


def parse_request(elements: dict[int, bytes], data_set: bytes | None, transfer_syntax: bytes) -> CommitmentRequest:
    """Of an N-ACTION-RQ's command set and data set. Raises BadRequestError."""
    if elements.get(pdu.REQUESTED_SOP_INSTANCE_UID, b"").rstrip(b"\0 ") != SOP_INSTANCE:
        raise BadRequestError(ActionStatus.NO_SUCH_SOP_INSTANCE)
    if pdu.unsigned_short(elements, pdu.ACTION_TYPE_ID) != _REQUEST_STORAGE_COMMITMENT:
        raise BadRequestError(ActionStatus.NO_SUCH_ACTION)
    try:
        stream = io.BytesIO(data_set or b"")
        read = read_dataset(stream, is_implicit_VR=transfer_syntax != EXPLICIT_VR, is_little_endian=True)
        transaction_uid = _uid(read, _TRANSACTION_UID)
        references = tuple(
            Reference(_uid(item, _REFERENCED_SOP_CLASS_UID), _uid(item, _REFERENCED_SOP_INSTANCE_UID))
            for item in read[_REFERENCED_SOP_SEQUENCE].value
        )
    except Exception:  # noqa: BLE001 - pydicom lets any exception out of bytes that are no data set
        raise BadRequestError(ActionStatus.INVALID_ARGUMENT_VALUE) from None
    if not transaction_uid or not references or not all(one.sop_instance for one in references):
        raise BadRequestError(ActionStatus.INVALID_ARGUMENT_VALUE)
    return CommitmentRequest(transaction_uid, references)


def action_response(context_id: int, message_id: int, status: ActionStatus) -> bytes:
    """An N-ACTION-RSP (PS3.7 10.3.5.2)."""
    return pdu.command_pdu(
        context_id,
        (
            (pdu.AFFECTED_SOP_CLASS_UID, STORAGE_COMMITMENT),
            (pdu.COMMAND_FIELD, pdu.N_ACTION_RSP),
            (pdu.MESSAGE_ID_BEING_RESPONDED_TO, message_id),
            (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
            (pdu.STATUS, status),
            (pdu.AFFECTED_SOP_INSTANCE_UID, SOP_INSTANCE),
            (pdu.ACTION_TYPE_ID, _REQUEST_STORAGE_COMMITMENT),
        ),
    )


def event_report(
    context_id: int, message_id: int, result: CommitmentResult, transfer_syntax: bytes, max_pdu_bytes: int
) -> bytes:
    """An N-EVENT-REPORT-RQ (PS3.7 10.3.1.1) with its data set, in PDUs of at most `max_pdu_bytes`, 0 for no limit."""
    command = pdu.command_pdu(
        context_id,
        (
            (pdu.AFFECTED_SOP_CLASS_UID, STORAGE_COMMITMENT),
            (pdu.COMMAND_FIELD, pdu.N_EVENT_REPORT_RQ),
            (pdu.MESSAGE_ID, message_id),
            (pdu.COMMAND_DATA_SET_TYPE, 1),
            (pdu.AFFECTED_SOP_INSTANCE_UID, SOP_INSTANCE),
            (pdu.EVENT_TYPE_ID, _FAILURES_EXIST if result.failed else _SUCCESSFUL),
        ),
    )
    return command + pdu.data_pdus(context_id, encode_result(result, transfer_syntax), max_pdu_bytes)


def encode_result(result: CommitmentResult, transfer_syntax: bytes) -> bytes:
    """The event information (PS3.4 Table J.3-2), in implicit or explicit VR little endian."""
    encode = _Encoder(explicit=transfer_syntax == EXPLICIT_VR)
    failed = [encode.reference(one) + encode.us(_FAILURE_REASON, reason) for one, reason in result.failed]
    committed = [encode.reference(one) for one in result.committed]
    return (
        encode.ui(_TRANSACTION_UID, result.transaction_uid)
        + (encode.sequence(_FAILED_SOP_SEQUENCE, failed) if failed else b"")
        + (encode.sequence(_REFERENCED_SOP_SEQUENCE, committed) if committed else b"")
    )


def _uid(data_set: Dataset, tag: int) -> str:
    """The raw value: what pydicom would say about its form is of no interest here. Raises AttributeError, KeyError."""
    value = data_set.get_item(tag).value
    return uid_from_wire(value if isinstance(value, bytes) else str(value).encode("latin-1"))


class _Encoder:
    """pydicom would refuse to write some of the UIDs that peers send."""

    def __init__(self, *, explicit: bool) -> None:
        self._explicit = explicit

    def ui(self, tag: int, uid: str) -> bytes:
        raw = uid.encode("latin-1", "replace")
        return self._element(tag, b"UI", raw + b"\0" * (len(raw) % 2))

    def us(self, tag: int, value: int) -> bytes:
        return self._element(tag, b"US", struct.pack("<H", value))

    def reference(self, reference: Reference) -> bytes:
        return self.ui(_REFERENCED_SOP_CLASS_UID, reference.sop_class) + self.ui(
            _REFERENCED_SOP_INSTANCE_UID, reference.sop_instance
        )

    def sequence(self, tag: int, items: Iterable[bytes]) -> bytes:
        value = b"".join(_tag(_ITEM) + struct.pack("<I", len(item)) + item for item in items)
        return _tag(tag) + (b"SQ\0\0" if self._explicit else b"") + struct.pack("<I", len(value)) + value

    def _element(self, tag: int, vr: bytes, value: bytes) -> bytes:
        length = vr + struct.pack("<H", len(value)) if self._explicit else struct.pack("<I", len(value))
        return _tag(tag) + length + value


def _tag(tag: int) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)
