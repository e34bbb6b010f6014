"""A storage commitment SCU for tests: pynetdicom as the requester, on associations of its own and as a listener."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made at run time

from tests.support.receiver import CT, EXPLICIT

CT_CLASS = CT.decode()
SOP_INSTANCE = "1.2.840.10008.1.20.1.1"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Told:
    """What an N-EVENT-REPORT said: event type, committed SOP instances, failure reasons by SOP instance."""

    transaction_uid: str
    event_type: int
    committed: list[str]
    failed: dict[str, int]


@dataclass
class Requester:
    """An AE that stores, asks for commitment, and is told."""

    ae_title: str = "MODALITY"
    answer: int = 0x0000
    """What it answers reports with."""
    reports: queue.Queue[Told] = field(default_factory=queue.Queue)
    _answering: list[Told] = field(default_factory=list)
    """Reports whose answer has not left: pynetdicom does not bear a release before that."""

    @contextmanager
    def associated(self, port: int) -> Iterator[Association]:
        """An association with the receiver, released at the end."""
        association = self.associate(port)
        try:
            yield association
        finally:
            association.release()

    def associate(self, port: int) -> Association:
        """An association with the receiver."""
        ae = AE(self.ae_title)
        ae.add_requested_context(StorageCommitmentPushModel)
        ae.add_requested_context(CT_CLASS, EXPLICIT.decode())
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate(LOOPBACK, port, evt_handlers=self._handlers)
        assert association.is_established
        return association

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[int]:
        """A port on which reports are taken."""
        ae = AE(self.ae_title)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=self._handlers, ssl_context=tls)
        assert server is not None
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()

    def told(self, within_seconds: float = 15) -> Told:
        """The next report."""
        return self.reports.get(timeout=within_seconds)

    @property
    def _handlers(self) -> list[Any]:
        return [(evt.EVT_N_EVENT_REPORT, self._on_report), (evt.EVT_PDU_SENT, self._on_sent)]

    def _on_sent(self, _event: Any) -> None:
        while self._answering:
            self.reports.put(self._answering.pop(0))

    def _on_report(self, event: Any) -> tuple[int, None]:
        information = event.event_information
        self._answering.append(
            Told(
                transaction_uid=str(information.TransactionUID),
                event_type=event.event_type,
                committed=[str(one.ReferencedSOPInstanceUID) for one in information.get("ReferencedSOPSequence", [])],
                failed={
                    str(one.ReferencedSOPInstanceUID): one.FailureReason for one in information.get("FailedSOPSequence", [])
                },
            )
        )
        return self.answer, None


def ask(association: Association, *uids: str, transaction_uid: str = "", sop_class: str = CT_CLASS) -> tuple[int, str]:
    """Ask for commitment of objects: (status, transaction UID)."""
    information = Dataset()
    information.TransactionUID = transaction_uid or generate_uid()
    information.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        information.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(information, 1, StorageCommitmentPushModel, SOP_INSTANCE)
    return int(status.Status), str(information.TransactionUID)
