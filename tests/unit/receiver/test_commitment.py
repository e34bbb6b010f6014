"""Storage commitment's ledger, requests and service on a real database; associations and time are the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from contract.commitment import ImportResult, ImportStatus, SentObject
from receiver.cloud import CloudUnavailableError
from receiver.commitment.database import Database, DatabaseError
from receiver.commitment.ledger import KnownObject, Ledger, VerifiedObject
from receiver.commitment.requests import Requests
from receiver.commitment.service import Commitments
from receiver.committing import DATABASE_NAME, make_commitment
from receiver.dicom.commitment import CommitmentRequest, CommitmentResult, Reference
from receiver.dicom.reports import ReportPeer, Reports
from receiver.dicom.status import ActionStatus, FailureReason
from receiver.filesystem import LocalFileSystem
from receiver.spool.folder import object_name
from receiver.spool.view import SpoolView
from tests.support.receiver import settings_for, until

DAY = 86_400.0
PEER = ReportPeer(association="a-1", calling_ae="CT", called_ae="AHI")


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Healthimaging:
    """What HealthImaging has recorded, as the edge's function tells."""

    recorded: dict[str, ImportStatus] = field(default_factory=dict)  # by SOP Instance UID
    down: bool = False
    asked: list[list[SentObject]] = field(default_factory=list)

    def results(self, objects: Sequence[SentObject]) -> Sequence[ImportResult]:
        self.asked.append(list(objects))
        if self.down:
            raise CloudUnavailableError("Invoke failed: EndpointConnectionError")
        statuses = [self.recorded.get(one.sop_instance_uid, ImportStatus.PENDING) for one in objects]
        return [ImportResult(status=one, reason=None) for one in statuses]


@dataclass
class Process:
    """One of the processes that share a database; `look` and `ledger.write` are called by the tests, not by threads."""

    path: Path
    clock: Clock
    name: str = "one"
    imports: Healthimaging | None = None
    ledger: Ledger = field(init=False)
    requests: Requests = field(init=False)
    commitments: Commitments = field(init=False)

    def __post_init__(self) -> None:
        (self.path.parent / "out" / "boot").mkdir(parents=True, exist_ok=True)
        database = Database(self.path)
        self.ledger = Ledger(database, keep_seconds=90 * DAY, clock=self.clock)
        self.requests = Requests(database, holder=self.name, keep_seconds=90 * DAY, clock=self.clock)
        self.commitments = Commitments(
            self.ledger,
            self.requests,
            SpoolView(self.path.parent, LocalFileSystem()),
            {},
            deadline_seconds=600,
            retry_max_seconds=900,
            dimse_seconds=30,
            import_service=self.imports,
            clock=self.clock,
        )

    def store(self, *uids: str, association: str = "a-0", quarantined: bool = False) -> None:
        """Objects that S3 has, whose association's folder is gone."""
        for number, uid in enumerate(uids, 1):
            self.ledger.verified(association, VerifiedObject("CT", uid, quarantined), in_s3=number)
        self.ledger.finish(association, ())
        rmtree(self.folder(association), ignore_errors=True)

    def folder(self, association: str) -> Path:
        return self.path.parent / "out" / "boot" / association

    def receive(self, association: str, objects: int = 1) -> None:
        """One more object, or several, in the spool."""
        folder = self.folder(association)
        folder.mkdir(exist_ok=True)
        already = len(list(folder.iterdir()))
        for number in range(already + 1, already + objects + 1):
            (folder / object_name(number, datetime.now(UTC))).touch()

    def ask(self, *uids: str, transaction_uid: str = "1.2", peer: ReportPeer = PEER) -> None:
        references = tuple(Reference("CT", uid) for uid in uids)
        assert self.commitments.request(CommitmentRequest(transaction_uid, references), peer) is ActionStatus.SUCCESS

    def open(self, peer: ReportPeer = PEER) -> OpenAssociation:
        association = OpenAssociation(peer)
        self.commitments.opened(association)
        return association


class OpenAssociation(Reports):
    """An association whose peer's answers the test gives."""

    def __init__(self, peer: ReportPeer) -> None:
        super().__init__(peer, context_id=1, transfer_syntax=b"1.2.840.10008.1.2", max_pdu_bytes=0, dimse_seconds=30)
        self.offered: list[tuple[CommitmentResult, Callable[[int | None], None]]] = []

    def offer(self, result: CommitmentResult, answered: Callable[[int | None], None]) -> bool:
        self.offered.append((result, answered))
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Process:
    return Process(tmp_path / "commitment.sqlite", clock)


def result_of(association: OpenAssociation) -> CommitmentResult:
    ((result, answered),) = association.offered
    answered(0)
    return result


def reasons(association: OpenAssociation) -> dict[str, FailureReason]:
    return {reference.sop_instance: reason for reference, reason in result_of(association).failed}


def test_what_s3_has_is_committed_at_once(process: Process) -> None:
    process.store("1.1", "1.2")
    association = process.open()
    process.ask("1.2", "1.1")
    process.commitments.look()
    result = result_of(association)
    assert ([one.sop_instance for one in result.committed], result.failed) == (["1.2", "1.1"], ())
    process.commitments.look()
    assert process.requests.open() == []


def test_what_nobody_sent_is_unknown_once_nothing_is_on_its_way(process: Process, clock: Clock) -> None:
    process.receive("a-2")
    association = process.open()
    process.ask("1.9")
    for _ in range(5):
        clock.now += 2
        process.commitments.look()
    assert association.offered == []
    process.receive("a-3")  # began after the request: is not waited for
    process.ledger.verified("a-2", VerifiedObject("CT", "1.1", quarantined=False), in_s3=1)
    process.ledger.write()
    process.commitments.look()
    assert reasons(association) == {"1.9": FailureReason.NO_SUCH_OBJECT_INSTANCE}


def test_what_came_before_the_request_is_waited_for_though_what_came_later_is_in_s3(process: Process, clock: Clock) -> None:
    process.receive("a-2", objects=2)
    association = process.open()
    process.ask("1.2", "1.9")
    clock.now += 2
    process.commitments.look()
    process.receive("a-2")
    process.ledger.verified("a-2", VerifiedObject("CT", "1.1", quarantined=False), in_s3=1)
    process.ledger.verified("a-2", VerifiedObject("CT", "1.3", quarantined=False), in_s3=1)
    process.ledger.write()
    process.commitments.look()
    assert association.offered == []
    process.ledger.verified("a-2", VerifiedObject("CT", "1.2", quarantined=False), in_s3=3)
    process.ledger.write()
    process.commitments.look()
    assert association.offered[0][0].committed == (Reference("CT", "1.2"),)
    assert reasons(association) == {"1.9": FailureReason.NO_SUCH_OBJECT_INSTANCE}


def test_what_a_dead_process_left_in_the_spool_is_waited_for_until_its_folder_goes(process: Process, clock: Clock) -> None:
    """It died before it wrote down anything of it, and whoever takes it up begins to count anew."""
    process.receive("a-2", objects=2)
    association = process.open()
    process.ask("1.1", "1.9")
    clock.now += 2
    process.commitments.look()
    process.ledger.verified("a-2", VerifiedObject("CT", "1.2", quarantined=False), in_s3=0)
    process.ledger.write()
    process.commitments.look()
    assert association.offered == []
    process.store("1.1", "1.2", association="a-2")
    process.commitments.look()
    assert association.offered[0][0].committed == (Reference("CT", "1.1"),)
    assert reasons(association) == {"1.9": FailureReason.NO_SUCH_OBJECT_INSTANCE}


def test_what_the_disk_does_not_let_us_look_at_is_waited_for(
    process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.receive("a-2")
    association = process.open()
    process.ask("1.1")
    clock.now += 2
    with monkeypatch.context() as failing:
        failing.setattr(LocalFileSystem, "names", _raise_full)
        process.commitments.look()
    process.ledger.verified("a-2", VerifiedObject("CT", "1.7", quarantined=False), in_s3=1)
    process.ledger.write()
    process.commitments.look()
    assert association.offered == []
    process.store("1.1", association="a-2")
    process.commitments.look()
    assert [one.sop_instance for one in result_of(association).committed] == ["1.1"]


def test_what_is_written_down_while_it_is_looked_for_is_not_unknown(
    process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.receive("a-2")
    association = process.open()
    process.ask("1.1")
    clock.now += 2
    process.commitments.look()
    find = process.ledger.find

    def find_too_early(sop_instances: Sequence[str]) -> dict[str, list[KnownObject]]:
        found = find(sop_instances)
        process.store("1.1", association="a-2")
        return found

    monkeypatch.setattr(process.ledger, "find", find_too_early)
    process.commitments.look()
    assert association.offered == []
    monkeypatch.undo()
    process.commitments.look()
    assert [one.sop_instance for one in result_of(association).committed] == ["1.1"]


def test_what_is_on_its_way_longer_than_the_deadline_fails(process: Process, clock: Clock) -> None:
    process.store("1.1")
    process.receive("a-2")
    association = process.open()
    process.ask("1.1", "1.9")
    clock.now += 2
    process.commitments.look()
    clock.now += 599
    process.commitments.look()
    assert association.offered[0][0].committed == (Reference("CT", "1.1"),)
    assert reasons(association) == {"1.9": FailureReason.RESOURCE_LIMITATION}


A_0 = "20261124T021501Z-CT-00000000"


def look_until(process: Process, condition: Callable[[], object]) -> None:
    """The answers come in another thread, which reads the clock when it has one: so the clock goes on meanwhile."""

    def looked() -> object:
        process.clock.now += 0.1
        process.commitments.look()
        return condition()

    until(looked, "an answer of the function")


def test_with_healthimaging_an_object_is_committed_once_its_import_is_recorded(tmp_path: Path, clock: Clock) -> None:
    imports = Healthimaging()
    process = Process(tmp_path / "commitment.sqlite", clock, imports=imports)
    process.store("1.1", "1.2", "1.3", association=A_0)
    process.store("1.4", association=A_0, quarantined=True)
    association = process.open()
    process.ask("1.1", "1.2", "1.3", "1.4", "1.5")
    look_until(process, lambda: imports.asked)
    assert [one.sop_instance_uid for one in imports.asked[0]] == ["1.1", "1.2", "1.3"]
    assert {one.association for one in imports.asked[0]} == {A_0}
    clock.now += 10
    imports.down = True
    look_until(process, lambda: len(imports.asked) == 2)
    clock.now += 10
    imports.down, imports.recorded = False, {"1.1": ImportStatus.IMPORTED}
    look_until(process, lambda: len(imports.asked) >= 4)  # what is still pending is asked about without the first
    assert [one.sop_instance_uid for one in imports.asked[3]] == ["1.2", "1.3"]
    assert not association.offered
    imports.recorded = {"1.2": ImportStatus.IMPORTED, "1.3": ImportStatus.FAILED}
    clock.now += 100
    look_until(process, lambda: association.offered)
    result = result_of(association)
    assert [one.sop_instance for one in result.committed] == ["1.1", "1.2"]
    assert {one.sop_instance: reason for one, reason in result.failed} == {
        "1.3": FailureReason.PROCESSING_FAILURE,
        "1.4": FailureReason.PROCESSING_FAILURE,
        "1.5": FailureReason.NO_SUCH_OBJECT_INSTANCE,
    }


def test_an_import_without_a_result_at_the_deadline_fails_for_want_of_resources_and_not_the_others(
    tmp_path: Path, clock: Clock
) -> None:
    imports = Healthimaging({"1.1": ImportStatus.IMPORTED})
    path = tmp_path / "commitment.sqlite"
    first = Process(path, clock, imports=imports)
    first.store("1.1", "1.2", association=A_0)
    first.ask("1.1", "1.2")
    look_until(first, lambda: len(imports.asked) >= 2)
    imports.recorded, imports.down = {}, True  # what was told before the restart is not asked for again
    clock.now += 601
    second = Process(path, clock, "two", imports=imports)
    association = second.open()
    second.commitments.look()
    result = result_of(association)
    assert [one.sop_instance for one in result.committed] == ["1.1"]
    assert reasons(association) == {"1.2": FailureReason.RESOURCE_LIMITATION}


def test_thousands_of_imports_are_asked_about_by_the_hundreds(tmp_path: Path, clock: Clock) -> None:
    uids = [f"1.{number}" for number in range(1200)]
    imports = Healthimaging(dict.fromkeys(uids, ImportStatus.IMPORTED))
    process = Process(tmp_path / "commitment.sqlite", clock, imports=imports)
    process.store(*uids, association=A_0)
    association = process.open()
    process.ask(*uids)
    look_until(process, lambda: association.offered)
    assert [len(one) for one in imports.asked] == [500, 500, 200]
    assert len(result_of(association).committed) == 1200


def test_what_was_quarantined_fails_unless_it_came_again_whole(process: Process, clock: Clock) -> None:
    process.store("1.1", "1.2", "1.3", association="a-2", quarantined=True)
    process.store("1.2", association="a-3")
    process.receive("a-4")
    association = process.open()
    process.ask("1.1", "1.2", "1.3")
    clock.now += 2
    process.commitments.look()
    process.commitments.look()
    assert association.offered == []
    process.store("1.3", association="a-4")
    process.commitments.look()
    assert association.offered[0][0].committed == (Reference("CT", "1.2"), Reference("CT", "1.3"))
    assert reasons(association) == {"1.1": FailureReason.PROCESSING_FAILURE}


def test_thousands_of_objects_are_found(process: Process) -> None:
    uids = [f"1.{number}" for number in range(3000)]
    process.store(*uids)
    association = process.open()
    process.ask(*uids)
    process.commitments.look()
    assert len(result_of(association).committed) == 3000


def test_a_transaction_uid_is_used_once_also_after_its_answer(process: Process) -> None:
    process.store("1.1")
    association = process.open()
    process.ask("1.1")
    process.commitments.look()
    assert not result_of(association).failed
    process.commitments.look()
    association.offered.clear()
    process.ask("1.1")
    process.commitments.look()
    assert reasons(association) == {"1.1": FailureReason.DUPLICATE_TRANSACTION_UID}


def test_a_report_that_is_not_answered_is_made_again_over_the_next_association(process: Process, clock: Clock) -> None:
    process.store("1.1")
    first = process.open()
    process.ask("1.1")
    process.commitments.look()
    first.close()
    process.commitments.closed(first)
    first.offered[0][1](None)
    clock.now += 10 * DAY
    process.commitments.look()
    process.commitments.look()
    other = process.open(ReportPeer(association="a-8", calling_ae="MR", called_ae="AHI"))
    again = process.open(ReportPeer(association="a-9", calling_ae="CT", called_ae="AHI"))
    process.commitments.look()
    assert result_of(again).transaction_uid == "1.2"
    process.commitments.look()
    assert (process.requests.open(), other.offered) == ([], [])


def test_the_process_with_the_association_reports_and_another_when_that_one_is_dead(tmp_path: Path, clock: Clock) -> None:
    asked, other = (Process(tmp_path / "commitment.sqlite", clock, name) for name in ("asked", "other"))
    here, elsewhere = asked.open(), other.open(ReportPeer(association="a-9", calling_ae="CT", called_ae="AHI"))
    asked.receive("a-2")
    asked.ask("1.1")
    for _ in range(20):  # S3 takes its time; the association lasts
        clock.now += 5
        asked.commitments.look()
        other.commitments.look()
    assert (here.offered, elsewhere.offered) == ([], [])
    clock.now += 16  # `asked` is dead, and `other` takes up its folder
    other.store("1.1", association="a-2")
    other.commitments.look()
    assert result_of(elsewhere).committed == (Reference("CT", "1.1"),)
    asked.commitments.look()
    assert here.offered == []


def test_the_ledger_survives_its_process_and_forgets_after_its_time(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "commitment.sqlite"
    Process(path, clock).store("1.1")
    clock.now += 50 * DAY
    Process(path, clock).store("1.2", "1.1", association="a-5")
    Process(path, clock).store("1.3", association="a-6")
    clock.now += 41 * DAY
    last = Process(path, clock)
    last.store("1.4")
    last.ledger.forget_old()
    assert set(last.ledger.find(["1.1", "1.2", "1.3", "1.4"])) == {"1.1", "1.2", "1.3", "1.4"}
    clock.now += 50 * DAY
    last.ledger.forget_old()
    assert set(last.ledger.find(["1.1", "1.2", "1.3", "1.4"])) == {"1.4"}


def test_what_does_not_fit_on_the_disk_is_written_later_and_a_request_is_refused(process: Process) -> None:
    uids = [f"1.{number}" for number in range(3000)]
    limit_pages(process, 1)  # no more than there are
    with pytest.raises(DatabaseError, match="full"):
        process.store(*uids)
    request = CommitmentRequest("1.2", tuple(Reference("CT", uid) for uid in uids))
    assert process.commitments.request(request, PEER) is ActionStatus.RESOURCE_LIMITATION
    assert process.requests.open() == []
    limit_pages(process, 1_000_000)
    process.ledger.finish("a-0", ())
    assert len(process.ledger.find(uids)) == 3000


def test_objects_that_were_not_taken_are_given_again_and_not_remembered_twice(process: Process) -> None:
    objects = [VerifiedObject("CT", f"1.{number}", quarantined=False) for number in range(3000)]
    uids = [one.sop_instance for one in objects]
    limit_pages(process, 1)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="full"):
            process.ledger.finish("a-0", iter(objects))
    limit_pages(process, 1_000_000)
    process.ledger.write()
    assert process.ledger.find(uids) == {}
    process.ledger.finish("a-0", iter(objects))
    assert all(len(known) == 1 for known in process.ledger.find(uids).values())
    assert len(process.ledger.find(uids)) == 3000


def test_an_association_is_not_finished_while_another_thread_still_writes_its_objects(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread's write fails, and takes its time to: what it had taken is written before the folder may go."""
    transaction, fail, writes = process.ledger._database.transaction, threading.Event(), threading.Semaphore(1)

    @contextmanager
    def slow_and_full_the_first_time() -> Iterator[Any]:
        if writes.acquire(blocking=False):
            fail.wait()
            raise DatabaseError("database or disk is full")
        with transaction() as sql:
            yield sql

    monkeypatch.setattr(process.ledger._database, "transaction", slow_and_full_the_first_time)
    process.ledger.verified("a-0", VerifiedObject("CT", "1.1", quarantined=False), in_s3=1)
    with ThreadPoolExecutor() as threads:
        writing = threads.submit(process.ledger.write)
        until(lambda: writes._value == 0, "the first write")
        finishing = threads.submit(process.ledger.finish, "a-0", ())
        wait([finishing], timeout=0.2)
        fail.set()
        finishing.result()
        assert isinstance(writing.exception(), DatabaseError)
    assert set(process.ledger.find(["1.1"])) == {"1.1"}


def test_an_answer_that_cannot_be_written_down_is_not_forgotten(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.store("1.1")
    association = process.open()
    process.ask("1.1")
    process.commitments.look()
    assert not result_of(association).failed
    with monkeypatch.context() as full:
        full.setattr(process.requests, "reported", _raise_full)
        with pytest.raises(DatabaseError):
            process.commitments.look()
    process.commitments.look()
    assert process.requests.open() == []
    assert len(association.offered) == 1


def _raise_full(*_: object) -> None:
    raise DatabaseError("database or disk is full")


def limit_pages(process: Process, pages: int) -> None:
    process.ledger._database._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "commitment.sqlite"
    path.write_bytes(b"not a database, " * 1000)
    Process(path, clock).store("1.1")
    assert (tmp_path / "commitment.sqlite.unreadable").exists()


def test_a_database_whose_pages_are_damaged_is_put_aside_and_every_process_goes_on_in_the_new_one(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "commitment.sqlite"
    damaged = damage_pages(path, clock)
    one, other = Process(path, clock), Process(path, clock)
    with pytest.raises(DatabaseError, match="malformed"):
        one.store("2.1")
    one.ledger.finish("a-9", [VerifiedObject("CT", "2.2", quarantined=False)])
    other.store("2.3")
    for process in (one, other):
        assert process.ledger.find(["2.1", "2.2", "2.3"]).keys() == {"2.1", "2.2", "2.3"}
    assert (tmp_path / "commitment.sqlite.unreadable").read_bytes()[4096 * 8 :] == damaged[4096 * 8 :]


def test_a_sibling_that_comes_while_a_damaged_database_is_put_aside_ends_in_the_same_new_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "commitment.sqlite"
    damage_pages(path, clock)
    one, other = Process(path, clock), Process(path, clock)
    replace = Path.replace
    siblings: list[Future[None]] = []

    def replace_slowly(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        siblings.extend((threads.submit(other.store, "2.2"), threads.submit(lambda: Process(path, clock).store("2.3"))))
        wait(siblings, timeout=0.2)
        return moved

    monkeypatch.setattr(Path, "replace", replace_slowly)
    with ThreadPoolExecutor() as threads:
        with pytest.raises(DatabaseError, match="malformed"):
            one.store("2.1")
        for sibling in siblings:
            sibling.result()
    assert len(siblings) == 2  # it was put aside once
    one.ledger.write()
    for process in (one, other):
        assert process.ledger.find(["2.1", "2.2", "2.3"]).keys() == {"2.1", "2.2", "2.3"}


def test_processes_that_start_on_one_file_that_is_no_database_end_in_the_same_new_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = tmp_path / "commitment.sqlite", b"not a database, " * 1000
    path.write_bytes(bad)
    replace, both_failed = Path.replace, threading.Barrier(2)

    def replace_together(self: Path, target: Path) -> Path:
        with suppress(threading.BrokenBarrierError):
            both_failed.wait(0.2)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_together)
    with ThreadPoolExecutor() as threads:
        one, other = threads.map(lambda name: Process(path, clock, name), ("one", "other"))
    one.store("1.1")
    other.store("1.2")
    for process in (one, other):
        assert process.ledger.find(["1.1", "1.2"]).keys() == {"1.1", "1.2"}
    assert (tmp_path / "commitment.sqlite.unreadable").read_bytes() == bad


def test_a_damaged_database_that_cannot_be_put_aside_is_put_aside_later(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "commitment.sqlite"
    damage_pages(path, clock)
    process = Process(path, clock)
    with monkeypatch.context() as full:
        full.setattr(Path, "replace", _raise_full)
        with pytest.raises(DatabaseError, match="full"):
            process.store("2.1")
    with pytest.raises(DatabaseError, match="malformed"):
        process.ledger.write()
    process.ledger.finish("a-0", ())
    assert process.ledger.find(["2.1"])


def test_a_receiver_that_starts_on_a_damaged_database_offers_commitment(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / DATABASE_NAME
    damage_pages(path, clock)
    assert make_commitment(settings_for(tmp_path), shared=False) is not None
    assert path.with_name(path.name + ".unreadable").exists()


def damage_pages(path: Path, clock: Clock) -> bytes:
    """A database with requests and objects, in which only what the tables begin with is whole; what the file has then."""
    process, uids = Process(path, clock), [f"1.{number}" for number in range(2000)]
    process.store(*uids)
    for number in range(200):
        process.ask("1.1", transaction_uid=f"1.2.{number}")
    process.ledger._database.close()
    whole = path.read_bytes()
    damaged = whole[: 4096 * 8] + b"\xa5" * (len(whole) - 4096 * 8)
    path.write_bytes(damaged)
    return damaged
