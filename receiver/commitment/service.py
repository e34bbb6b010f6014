"""Resolves commitment requests against the ledger, and reports the results until they are answered.

A result goes to its peer by the first of these ways that there is: the association on which it was asked, another association
that the AE has open, an association of ours to the AE's address in the peers table; without an address it waits for the AE's
next association. Of several worker processes the one with the association reports, otherwise whichever holds the request
first; it lets go when it dies.

Where HealthImaging's results are asked for (`imports`), what S3 has is committed only once it is imported, and fails once its
import did; what has neither at the deadline fails for want of resources, and may be asked about again.

An object that the ledger does not have, or only as one that fails, may be on its way to S3. What the spool holds when it is
looked at for a request is waited for, until the deadline: an object that is still missing when all of that is in S3 was never
received.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from contract.commitment import ImportStatus, SentObject
from contract.uids import safe_name
from receiver.commitment.database import DatabaseError
from receiver.commitment.imports import Imports, ImportService
from receiver.commitment.ledger import KnownObject, Ledger
from receiver.commitment.outbound import NotReportedError, report
from receiver.commitment.requests import COMMITTED, OpenRequest, Requests
from receiver.dicom.client import Address
from receiver.dicom.commitment import CommitmentRequest, CommitmentResult, Reference
from receiver.dicom.reports import ReportPeer, Reports
from receiver.dicom.status import ActionStatus, FailureReason
from receiver.spool.view import SpoolView, is_removed

_LOOK_EVERY_SECONDS, _LOOK_AT_LEAST_EVERY_SECONDS = 0.2, 1.0
_LOOK_INTO_SPOOL_AFTER_SECONDS = 1.0
"""By then S3 has most of what a peer asks for at once, and the spool need not be listed."""
_HELD_SECONDS = 15.0
"""How long a request is held at a time; renewed while its association lasts."""
_FIRST_RETRY_SECONDS = 5.0
_FORGET_EVERY_SECONDS = 3600.0
_ASSOCIATIONS_MAX = 4  # of ours, at a time

_log = logging.getLogger(__name__)


class Commitments:
    """Storage commitment in one process (receiver.dicom.reports.CommitmentProvider). `start` and `stop`, once each."""

    def __init__(
        self,
        ledger: Ledger,
        requests: Requests,
        spool: SpoolView,
        peers: Mapping[str, Address],
        *,
        deadline_seconds: float,
        retry_max_seconds: float,
        dimse_seconds: float,
        tls: ssl.SSLContext | None = None,
        import_service: ImportService | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`peers` by AE title, reached over `tls` where they say so.

        `deadline_seconds`: how long S3, and `import_service`, are waited for; `retry_max_seconds`: longest time between
        attempts. Without `import_service`, what S3 has is committed.
        """
        self._ledger, self._requests, self._spool, self._peers, self._clock = ledger, requests, spool, peers, clock
        self._deadline_seconds, self._retry_max_seconds = deadline_seconds, retry_max_seconds
        self._dimse_seconds = dimse_seconds
        self._tls = tls
        self._forgot_at = float("-inf")
        self._open: dict[str, Reports] = {}  # by association id, the latest last
        self._in_spool: Mapping[Path, int] | None = None  # as it was at some time in this `look`
        self._awaited: dict[int, Mapping[Path, int]] = {}  # by request: what was in the spool
        self._under_way: set[int] = set()  # requests whose result was given to an association
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._own_associations = 0
        self._lock = threading.Lock()
        self._there_is_work, self._stopping = threading.Event(), threading.Event()
        self._imports = Imports(import_service, wake=self._there_is_work.set, clock=clock) if import_service else None
        self._thread = threading.Thread(target=self._work, name="commitments", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Resolve and report no more; what is open is left to the next start."""
        self._stopping.set()
        self._there_is_work.set()
        self._thread.join()
        if self._imports is not None:
            self._imports.stop()

    # What associations call.

    def opened(self, reports: Reports) -> None:
        with self._lock:
            self._open[reports.peer.association] = reports
        self._there_is_work.set()

    def closed(self, reports: Reports) -> None:
        with self._lock:
            del self._open[reports.peer.association]

    def request(self, request: CommitmentRequest, peer: ReportPeer) -> ActionStatus:
        extra = {
            "association": peer.association,
            "transaction": safe_name(request.transaction_uid),
            "objects": len(request.references),
        }
        try:
            self._requests.add(request, peer, held_seconds=_HELD_SECONDS)
        except DatabaseError as error:
            _log.error("commitment request refused", extra=extra | {"error": str(error)})
            return ActionStatus.RESOURCE_LIMITATION
        _log.info("commitment requested", extra=extra)
        self._there_is_work.set()
        return ActionStatus.SUCCESS

    # The thread.

    def look(self) -> bool:
        """Do what can be done now; whether more can be done soon. Raises DatabaseError."""
        self._take_answers()
        if self._clock() - self._forgot_at > _FORGET_EVERY_SECONDS:
            self._forgot_at = self._clock()
            self._ledger.forget_old()
            self._requests.forget_old()
        more = False
        requests, self._in_spool = self._requests.open(), None
        if self._imports is not None:
            self._imports.keep_only([request.number for request in requests if not request.resolved])
        for request in requests:
            if request.number in self._under_way:
                more = True
            elif not request.is_held_by_another:
                if request.resolved or self._is_resolved(request):
                    more |= self._report(request)
                else:
                    self._keep_for_its_association(request)
                    more = True
        return more

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                more = self.look()
            except Exception as error:  # noqa: BLE001 - the thread never ends: what is open stays, and is tried again
                expected = isinstance(error, DatabaseError)
                _log.error(
                    "commitments were not looked at, will be tried again",
                    extra={"error": str(error) if expected else type(error).__name__},
                    exc_info=None if expected else error,
                )
                more = False
            if not more:
                self._there_is_work.wait(_LOOK_AT_LEAST_EVERY_SECONDS)
            self._there_is_work.clear()
            self._stopping.wait(_LOOK_EVERY_SECONDS)
        with contextlib.suppress(DatabaseError):
            self._take_answers()

    def _take_answers(self) -> None:
        while not self._answers.empty():
            answer = self._answers.get()
            try:
                self._write_down(answer)
            except DatabaseError:
                self._answers.put(answer)
                raise
            self._own_associations -= answer.over_own_association
            self._under_way.discard(answer.request.number)

    def _write_down(self, answer: _Answer) -> None:
        request, status = answer.request, answer.status
        if status is not None:
            self._requests.reported(request.number, status)
            _log.info("commitment reported", extra=_extra(request) | {"status": f"0x{status:04X}"})
        else:
            most = min(self._retry_max_seconds, _FIRST_RETRY_SECONDS * 2.0 ** min(request.attempts, 30))
            wait = random.uniform(most / 2, most) if answer.over_own_association else 0
            self._requests.not_reported(request.number, again_in_seconds=wait)

    def _is_resolved(self, request: OpenRequest) -> bool:
        """Resolve what can be resolved; whether that is all of it."""
        if self._imports is not None and not self._imports.is_due(request.number) and not self._is_late(request):
            return False
        unresolved = self._requests.unresolved(request.number)
        nothing_is_awaited = self._has_arrived(request)  # before `find`: what is not awaited any more is found
        found = self._ledger.find([reference.sop_instance for _, reference in unresolved])
        reasons: list[tuple[int, int]] = []
        failing: list[tuple[int, FailureReason]] = []
        in_s3: dict[int, SentObject] = {}
        for position, reference in unresolved:
            committed = _find_committed(reference, known := found.get(reference.sop_instance, []))
            if committed is None:
                failing.append((position, _failure_reason(reference, known)))
            elif self._imports is not None:
                in_s3[position] = _sent(committed)
            else:
                reasons.append((position, COMMITTED))
        if failing and not nothing_is_awaited:
            failing = self._awaiting(request, failing)
        reasons += failing
        imported = self._reasons_of_imports(request, in_s3)
        reasons += imported
        everything = len(reasons) == len(unresolved)
        if reasons:
            self._requests.resolve(request.number, reasons, all_of_it=everything)
        if everything:
            self._awaited.pop(request.number, None)
        return everything

    def _reasons_of_imports(self, request: OpenRequest, in_s3: Mapping[int, SentObject]) -> list[tuple[int, int]]:
        """(position, failure reason or COMMITTED) of those whose import is decided; the others are asked about."""
        if self._imports is None or not in_s3:
            return []
        results, late = self._imports.results(request.number), self._is_late(request)
        reasons: list[tuple[int, int]] = []
        for position, sent in in_s3.items():
            if sent in results:
                is_imported = results[sent].status is ImportStatus.IMPORTED
                reasons.append((position, COMMITTED if is_imported else FailureReason.PROCESSING_FAILURE))
            elif late:
                reasons.append((position, FailureReason.RESOURCE_LIMITATION))
        if len(reasons) < len(in_s3) and self._requests.hold(request.number, _HELD_SECONDS):  # one process is enough to ask
            self._imports.ask(request.number, request.requested_at, [one for one in in_s3.values() if one not in results])
        return reasons

    def _is_late(self, request: OpenRequest) -> bool:
        return self._clock() > request.requested_at + self._deadline_seconds

    def _has_arrived(self, request: OpenRequest) -> bool:
        """Whether S3 has all that was in the spool when that was looked at for a request. Raises DatabaseError."""
        awaited = self._awaited.get(request.number)
        if awaited is None:
            return False
        progress = self._ledger.progress()
        return all(progress.get(path.name, 0) >= objects or is_removed(path) for path, objects in awaited.items())

    def _awaiting(self, request: OpenRequest, failing: list[tuple[int, FailureReason]]) -> list[tuple[int, FailureReason]]:
        """Of what fails unless it is on its way, that which fails all the same, now. Raises OSError."""
        if request.number not in self._awaited:
            if self._clock() >= request.requested_at + _LOOK_INTO_SPOOL_AFTER_SECONDS:
                self._in_spool = self._in_spool if self._in_spool is not None else self._spool.object_counts()
                self._awaited[request.number] = self._in_spool
            return []
        if not self._is_late(request):
            return []
        unknown, late = FailureReason.NO_SUCH_OBJECT_INSTANCE, FailureReason.RESOURCE_LIMITATION
        return [(position, late if reason is unknown else reason) for position, reason in failing]

    def _keep_for_its_association(self, request: OpenRequest) -> None:
        with self._lock:
            is_here = request.peer.association in self._open
        if is_here:
            self._requests.hold(request.number, _HELD_SECONDS)

    def _report(self, request: OpenRequest) -> bool:
        """Report a resolved request; False when there is no way now."""
        reports = self._association_for(request.peer)
        address = self._peers.get(request.peer.calling_ae)
        if reports is None and (
            address is None or self._clock() < request.next_attempt_at or self._own_associations >= _ASSOCIATIONS_MAX
        ):
            return False
        if self._requests.hold(request.number, _HELD_SECONDS + 3 * self._dimse_seconds):
            result = self._requests.result(request)
            self._under_way.add(request.number)
            if reports is not None:
                if not reports.offer(result, lambda status: self._answer(request, status)):
                    self._answer(request, None)
            elif address is not None:
                self._own_associations += 1
                name = f"commitment-report-{request.number}"
                threading.Thread(target=self._send, args=(address, request, result), name=name, daemon=True).start()
        return True

    def _association_for(self, peer: ReportPeer) -> Reports | None:
        with self._lock:
            usable = [one for one in self._open.values() if one.peer.calling_ae == peer.calling_ae and not one.are_closed]
        return next((one for one in usable if one.peer.association == peer.association), usable[-1] if usable else None)

    def _send(self, address: Address, request: OpenRequest, result: CommitmentResult) -> None:
        status = None
        try:
            status = report(address, request.peer, result, timeout_seconds=self._dimse_seconds, tls=self._tls)
        except NotReportedError as error:
            _log.warning("commitment not reported, will be tried again", extra=_extra(request) | {"error": str(error)})
        finally:
            self._answer(request, status, over_own_association=True)

    def _answer(self, request: OpenRequest, status: int | None, *, over_own_association: bool = False) -> None:
        self._answers.put(_Answer(request, status, over_own_association))
        self._there_is_work.set()


class _Answer(NamedTuple):
    """What became of a report; `status` is None when the peer did not answer."""

    request: OpenRequest
    status: int | None
    over_own_association: bool


def _find_committed(reference: Reference, known: list[KnownObject]) -> KnownObject | None:
    return next((one for one in known if one.sop_class == reference.sop_class and not one.quarantined), None)


def _failure_reason(reference: Reference, known: list[KnownObject]) -> FailureReason:
    """Why an object is not committed of which no more is known."""
    if not known:
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    if all(one.sop_class != reference.sop_class for one in known):
        return FailureReason.CLASS_INSTANCE_CONFLICT
    return FailureReason.PROCESSING_FAILURE


def _sent(known: KnownObject) -> SentObject:
    return SentObject(association=known.association, sop_class_uid=known.sop_class, sop_instance_uid=known.sop_instance)


def _extra(request: OpenRequest) -> dict[str, object]:
    return {"association": request.peer.association, "transaction": safe_name(request.transaction_uid)}
