"""What an association does besides storing: it verifies (PS3.4 Annex A), and commits (PS3.4 Annex J)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from receiver.dicom import pdu
from receiver.dicom.commitment import BadRequestError, action_response, parse_request
from receiver.dicom.items import MalformedPduError
from receiver.dicom.negotiation import VERIFICATION, Service
from receiver.dicom.p_data import Message, unrecognized
from receiver.dicom.reports import CommitmentProvider, Reports
from receiver.dicom.status import ActionStatus, EchoStatus


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """An accepted presentation context."""

    service: Service
    transfer_syntax: bytes


class Services:
    """The services of one association. All is called from its thread."""

    def __init__(
        self, contexts: Mapping[int, AcceptedContext], provider: CommitmentProvider | None, reports: Reports | None
    ) -> None:
        """`reports` is there when a context for storage commitment was accepted, and then `provider` too."""
        self._contexts, self._provider, self._reports = contexts, provider, reports
        if provider is not None and reports is not None:
            provider.opened(reports)

    @property
    def reports(self) -> Reports | None:
        """Results that the peer may want on this association."""
        return self._reports

    def answer(self, message: Message) -> bytes:
        """What to send about a message that is no C-STORE, empty for nothing. Raises MalformedPduError."""
        context = self._contexts[message.context_id]
        if message.field == pdu.C_ECHO_RQ:
            return _echo_response(message, verifies=context.service is Service.VERIFICATION)
        if message.field == pdu.N_EVENT_REPORT_RSP:
            self._take_answer(message)
            return b""
        if context.service is Service.COMMITMENT:
            return self._commit(message, context.transfer_syntax)
        return unrecognized(message)

    def close(self) -> None:
        """The association ended."""
        if self._provider is not None and self._reports is not None:
            self._reports.close()
            self._provider.closed(self._reports)

    def _commit(self, message: Message, transfer_syntax: bytes) -> bytes:
        assert self._provider is not None and self._reports is not None  # noqa: S101, PT018 - such a context was accepted
        elements = pdu.command_elements(message.command_set)
        message_id = pdu.unsigned_short(elements, pdu.MESSAGE_ID)
        try:
            status = self._provider.request(parse_request(elements, message.data_set, transfer_syntax), self._reports.peer)
        except BadRequestError as error:
            status = error.status
        if status is ActionStatus.SUCCESS:
            self._reports.expect()
        return action_response(message.context_id, message_id, status)

    def _take_answer(self, message: Message) -> None:
        elements = pdu.command_elements(message.command_set)
        answered = pdu.unsigned_short(elements, pdu.MESSAGE_ID_BEING_RESPONDED_TO)
        if self._reports is None or not self._reports.take_answer(answered, pdu.unsigned_short(elements, pdu.STATUS)):
            raise MalformedPduError("a response to nothing")


def _echo_response(message: Message, *, verifies: bool) -> bytes:
    """A C-ECHO-RSP (PS3.7 9.3.5.2)."""
    return pdu.command_pdu(
        message.context_id,
        (
            (pdu.AFFECTED_SOP_CLASS_UID, VERIFICATION),
            (pdu.COMMAND_FIELD, pdu.C_ECHO_RSP),
            (
                pdu.MESSAGE_ID_BEING_RESPONDED_TO,
                pdu.unsigned_short(pdu.command_elements(message.command_set), pdu.MESSAGE_ID),
            ),
            (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
            (pdu.STATUS, EchoStatus.SUCCESS if verifies else EchoStatus.SOP_CLASS_NOT_SUPPORTED),
        ),
    )
