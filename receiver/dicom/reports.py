"""Commitment results on their way to a peer over an association that it opened.

A result is sent when the peer is silent, between two of its messages: many clients take whatever comes while they wait for a
response for that response. One is under way at a time (PS3.7 D.3.3.3, one operation without negotiation of more).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from receiver.dicom.commitment import CommitmentRequest, CommitmentResult, event_report
from receiver.dicom.status import ActionStatus

Answered = Callable[[int | None], None]
"""Called once with the status of the N-EVENT-REPORT-RSP, None when there was no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPeer:
    """Who is on the other side of an association: AE titles without padding."""

    association: str
    calling_ae: str
    called_ae: str


class Reports:
    """The results for one association. `offer` is called from any thread, the rest from the association's."""

    def __init__(self, peer: ReportPeer, *, context_id: int, transfer_syntax: bytes, max_pdu_bytes: int, dimse_seconds: float):
        """`max_pdu_bytes` is the peer's limit; an answer is waited for `dimse_seconds`."""
        self.peer = peer
        self._context_id, self._transfer_syntax, self._max_pdu_bytes = context_id, transfer_syntax, max_pdu_bytes
        self._dimse_seconds = dimse_seconds
        self._waiting: deque[tuple[CommitmentResult, Answered]] = deque()
        self._sent: tuple[int, Answered, float] | None = None  # message id, whom to tell, deadline (monotonic)
        self._message_id = 0
        self._closed = False
        self._expected = 0
        self._lock = threading.Lock()

    @property
    def are_expected(self) -> bool:
        """Whether the peer waits for a result: its silence is not its fault then."""
        return self._expected > 0 and not self._closed

    @property
    def are_closed(self) -> bool:
        """Whether it is too late for more."""
        return self._closed

    def expect(self) -> None:
        """A request was taken on this association: its result will be offered here."""
        self._expected += 1

    def offer(self, result: CommitmentResult, answered: Answered) -> bool:
        """Send a result as soon as it fits; False when it is too late for this association."""
        with self._lock:
            if self._closed:
                return False
            self._waiting.append((result, answered))
            return True

    def next_message(self, now: float) -> bytes | None:
        """What is to be sent now (monotonic), while the peer is silent."""
        if self._sent is not None:
            _, answered, deadline = self._sent
            if now >= deadline:  # it does not take reports here
                answered(None)
                self._sent = None
                self.close()
            return None
        with self._lock:
            if not self._waiting:
                return None
            result, answered = self._waiting.popleft()
        self._message_id = self._message_id % 0xFFFF + 1
        self._sent = self._message_id, answered, now + self._dimse_seconds
        return event_report(self._context_id, self._message_id, result, self._transfer_syntax, self._max_pdu_bytes)

    def take_answer(self, message_id: int, status: int) -> bool:
        """An N-EVENT-REPORT-RSP came; False when it answers nothing."""
        if self._sent is None or self._sent[0] != message_id:
            return False
        (_, answered, _), self._sent = self._sent, None
        self._expected -= 1
        answered(status)
        return True

    def close(self) -> None:
        """Send no more; whom it concerns is told that there was no answer."""
        with self._lock:
            self._closed = True
            left = [answered for _, answered in self._waiting]
            self._waiting.clear()
        if self._sent is not None:
            left.append(self._sent[1])
            self._sent = None
        for answered in left:
            answered(None)


class CommitmentProvider(Protocol):
    """Who commits. Called from the associations' threads; nothing waits for S3."""

    def opened(self, reports: Reports) -> None:
        """An association was accepted on which results can be reported."""

    def request(self, request: CommitmentRequest, peer: ReportPeer) -> ActionStatus:
        """Take a request durably; its result is reported later."""

    def closed(self, reports: Reports) -> None:
        """No more results on this association."""
