"""The upload queue: order, failures that hold up nothing, and workers that wait and never end."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from contract import Ending
from contract.manifest import PartManifest
from contract.strict import from_json
from receiver import records
from receiver.cloud import CloudRefusedError, CloudUnavailableError
from receiver.part10 import head_bytes
from receiver.spool import AssociationFolder, Spool
from receiver.upload_workers import UploadWorkers
from receiver.uploads import AssociationUpload, Uploads
from tests.support.cloud import FakeCloud
from tests.support.forgetful import ForgetfulFileSystem

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class ChoosyCloud(FakeCloud):
    """Refuses every object whose content holds `refused`."""

    refused = b"poison"

    def put_bytes(self, key: str, content: bytes) -> None:
        if self.refused in content and key.startswith("instances/"):
            raise CloudRefusedError("PutObject refused")
        super().put_bytes(key, content)


class Sender:
    """Stores objects without a network."""

    def __init__(self, cloud: FakeCloud) -> None:
        self.disk = ForgetfulFileSystem()
        self.spool = Spool(
            Path("/spool"),
            edge="edge-1",
            files=self.disk,
            part_max_objects=5000,
            part_max_bytes=10**10,
            object_max_bytes=10**10,
        )
        self.uploads = Uploads(cloud, bucket="bucket")

    def begin(self) -> tuple[AssociationFolder, AssociationUpload]:
        folder = self.spool.begin_association(calling_ae="CT", called_ae="ANY", peer="127.0.0.1")
        return folder, self.uploads.begin(folder)

    def store(self, folder: AssociationFolder, upload: AssociationUpload, uid: str, content: bytes) -> None:
        head = head_bytes(sop_class=b"1.2.3", sop_instance=uid.encode(), transfer_syntax=b"1.2.4", source_ae=b"CT")
        writer = folder.begin_object(head)
        writer.write([content])
        upload.add(writer.commit())


@pytest.fixture
def workers() -> Iterator[Callable[[Uploads], UploadWorkers]]:
    started: list[UploadWorkers] = []

    def start(uploads: Uploads) -> UploadWorkers:
        pool = UploadWorkers(uploads, workers=4, backoff_max_seconds=0.05)
        pool.start()
        started.append(pool)
        return pool

    yield start
    for pool in started:
        pool.stop(timeout_seconds=5)


def entries(cloud: FakeCloud) -> list[str]:
    (part,) = (content for key, content in cloud.objects.items() if key.endswith("/1.json"))
    return [entry.sop_instance_uid for entry in from_json(PartManifest, part).entries]


def test_the_manifest_lists_objects_in_order_of_arrival_whichever_was_read_first(
    workers: Callable[[Uploads], UploadWorkers],
) -> None:
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    uids = [f"1.{number}" for number in range(1, 200)]
    workers(sender.uploads)
    for uid in uids:
        sender.store(folder, upload, uid, uid.encode() * 50)
    upload.end(Ending.RELEASED, NOW)
    assert sender.uploads.wait_until_done(20)
    assert entries(cloud) == uids


def test_an_object_whose_predecessor_is_still_read_waits_without_a_worker() -> None:
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    sender.store(folder, upload, "1.1", b"first")
    sender.store(folder, upload, "1.2", b"second")
    reading, go_on = threading.Event(), threading.Event()
    real = sender.disk.open

    def slow_open(path: Path) -> IO[bytes]:
        if path.name.startswith("000001"):
            reading.set()
            assert go_on.wait(10)
        return real(path)

    sender.disk.open = slow_open  # type: ignore[method-assign]
    slow = threading.Thread(target=sender.uploads.run_next)
    slow.start()
    assert reading.wait(10)
    assert sender.uploads.run_next()  # returns, though the second object cannot be placed yet
    assert cloud.objects == {}
    go_on.set()
    slow.join(10)
    upload.end(Ending.RELEASED, NOW)
    while sender.uploads.run_next():
        pass
    assert entries(cloud) == ["1.1", "1.2"]


def test_an_object_that_is_always_refused_does_not_hold_up_the_others(workers: Callable[[Uploads], UploadWorkers]) -> None:
    cloud = ChoosyCloud()
    sender = Sender(cloud)
    poisoned, poisoned_upload = sender.begin()
    for number in range(20):
        sender.store(poisoned, poisoned_upload, f"9.{number}", b"poison %d" % number)
    poisoned_upload.end(Ending.RELEASED, NOW)
    good, good_upload = sender.begin()
    sender.store(good, good_upload, "1.1", b"good")
    good_upload.end(Ending.RELEASED, NOW)
    workers(sender.uploads)
    wait_for(sender.uploads, 1)
    assert len(cloud.messages) == 1
    cloud.refused = b"nothing any more"
    assert sender.uploads.wait_until_done(20)
    assert len(cloud.messages) == 2


@pytest.mark.timeout(10)
def test_uploads_that_hang_delay_the_end_once_and_not_each() -> None:
    class HangingCloud(FakeCloud):
        def put_bytes(self, key: str, content: bytes) -> None:
            hanging.release()
            assert go_on.wait(60)

    hanging, go_on = threading.Semaphore(0), threading.Event()
    sender = Sender(HangingCloud())
    folder, upload = sender.begin()
    for number in range(64):
        sender.store(folder, upload, f"1.{number}", b"x%d" % number)
    pool = UploadWorkers(sender.uploads, workers=64, backoff_max_seconds=0.05)
    pool.start()
    for _ in range(64):
        assert hanging.acquire(timeout=10)
    pool.stop(timeout_seconds=0.3)  # 64 times as long would be too long for this test
    go_on.set()


def wait_for(uploads: Uploads, left: int) -> None:
    with uploads._changed:
        assert uploads._changed.wait_for(lambda: len(uploads._open) == left, 20)


def test_an_outage_is_waited_out_and_costs_few_attempts(workers: Callable[[Uploads], UploadWorkers]) -> None:
    cloud = FakeCloud()
    cloud.failure = CloudUnavailableError("away")
    sender = Sender(cloud)
    folder, upload = sender.begin()
    for number in range(500):
        sender.store(folder, upload, f"1.{number}", b"x%d" % number)
    upload.end(Ending.RELEASED, NOW)
    workers(sender.uploads)
    assert not sender.uploads.wait_until_done(0.5)
    assert 1 <= cloud.failed_calls < 60  # waits of 25 ms on average, one worker at a time
    cloud.failure = None
    assert sender.uploads.wait_until_done(20)
    assert len(entries(cloud)) == 500


class PassingOutage(FakeCloud):
    """While `away`, the first call of each of four workers fails at once, and every later one hangs until it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.back = threading.Event(), threading.Event()
        self.all_failed, self.asks = threading.Barrier(4), threading.Semaphore(0)
        self._left = 4

    def put_bytes(self, key: str, content: bytes) -> None:
        if self.away.is_set():
            with self._lock:
                first, self._left = self._left > 0, self._left - 1
            if first:
                self.all_failed.wait(10)
            else:
                self.asks.release()
                assert self.back.wait(10)
            raise CloudUnavailableError("away")
        super().put_bytes(key, content)


def test_in_an_outage_after_a_success_one_worker_asks_and_the_others_wait_for_it(
    workers: Callable[[Uploads], UploadWorkers], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = PassingOutage()
    sender = Sender(cloud)
    workers(sender.uploads)
    folder, upload = sender.begin()
    sender.store(folder, upload, "1.0", b"before")
    upload.end(Ending.RELEASED, NOW)
    assert sender.uploads.wait_until_done(20)
    monkeypatch.setattr("receiver.upload_workers._ASKS_ALONE_SECONDS", 60)
    cloud.away.set()
    folder, upload = sender.begin()
    for number in range(1, 100):
        sender.store(folder, upload, f"1.{number}", b"x%d" % number)
    upload.end(Ending.RELEASED, NOW)
    assert cloud.asks.acquire(timeout=10)
    assert not cloud.asks.acquire(timeout=0.5)
    cloud.away.clear()
    cloud.back.set()
    assert sender.uploads.wait_until_done(20)
    assert len(cloud.messages) == 2
    assert sum(key.startswith("instances/") for key in cloud.objects) == 100


def test_a_removal_that_fails_does_not_send_the_message_again() -> None:
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    sender.store(folder, upload, "1.1", b"x")
    upload.end(Ending.RELEASED, NOW)
    assert sender.uploads.run_next()
    real, failures = sender.disk.remove_folder, [1, 2]

    def remove_folder(path: Path) -> None:
        if failures:
            failures.pop()
            raise OSError("busy")
        real(path)

    sender.disk.remove_folder = remove_folder  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(OSError, match="busy"):
            sender.uploads.run_next()
    assert sender.uploads.run_next()
    assert (len(cloud.messages), sender.uploads.open_associations) == (1, 0)


def test_an_object_that_cannot_be_placed_is_tried_again_and_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch, workers: Callable[[Uploads], UploadWorkers]
) -> None:
    monkeypatch.setattr(records, "HELD_BYTES", 1)
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    failing, real = threading.Event(), sender.disk.open

    def open_or_fail(path: Path) -> IO[bytes]:
        if path.name == "placed.tmp" and not failing.is_set():
            raise OSError(errno.EIO, "unreadable")
        return real(path)

    sender.disk.open = open_or_fail  # type: ignore[method-assign]
    workers(sender.uploads)
    for uid in ("1.1", "1.2", "1.1", "1.3", "1.4"):  # to know the third for a repeat, what was placed has to be read
        sender.store(folder, upload, uid, uid.encode() * 50)
    upload.end(Ending.RELEASED, NOW)
    assert not sender.uploads.wait_until_done(0.5)
    assert len(cloud.objects) == 2
    assert cloud.messages == []
    failing.set()
    assert sender.uploads.wait_until_done(20)
    assert entries(cloud) == ["1.1", "1.2", "1.3", "1.4"]
    assert len(cloud.messages) == 1
    assert not [path for path in sender.disk.tree() if "placed" in path]


class Unplaceable:
    """Whether what was placed can be read, which a repeat needs."""

    def __init__(self, sender: Sender) -> None:
        self.now, self._open = False, sender.disk.open
        sender.disk.open = self._open_or_fail  # type: ignore[method-assign]

    def _open_or_fail(self, path: Path) -> IO[bytes]:
        if path.name == "placed.tmp" and self.now:
            raise OSError(errno.EIO, "unreadable")
        return self._open(path)


def announced(sender: Sender, upload: AssociationUpload, cloud: FakeCloud) -> list[str]:
    """The manifest's objects, once all that is left was done."""
    upload.end(Ending.RELEASED, NOW)
    while sender.uploads.run_next():
        pass
    assert len(cloud.messages) == 1
    return entries(cloud)


def test_an_object_that_cannot_be_placed_is_queued_once_while_others_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HELD_BYTES", 1)
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    unplaceable = Unplaceable(sender)
    sender.store(folder, upload, "1.1", b"first")
    assert sender.uploads.run_next()
    sender.store(folder, upload, "1.1", b"first")
    sender.store(folder, upload, "1.2", b"later")
    unplaceable.now = True
    with pytest.raises(OSError, match="unreadable"):
        sender.uploads.run_next()
    unplaceable.now = False
    assert sender.uploads.run_next()  # the later one: it waits for the repeat
    assert len(cloud.objects) == 1
    assert announced(sender, upload, cloud) == ["1.1", "1.2"]


def test_an_object_that_waited_and_then_cannot_be_placed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HELD_BYTES", 1)
    cloud = FakeCloud()
    sender = Sender(cloud)
    folder, upload = sender.begin()
    sender.store(folder, upload, "1.1", b"first")
    assert sender.uploads.run_next()
    reading, go_on = threading.Event(), threading.Event()
    real = sender.disk.open

    def slow_open(path: Path) -> IO[bytes]:
        if path.name.startswith("000002"):
            reading.set()
            assert go_on.wait(10)
        return real(path)

    sender.disk.open = slow_open  # type: ignore[method-assign]
    sender.store(folder, upload, "1.2", b"slow")
    sender.store(folder, upload, "1.1", b"first")
    slow = threading.Thread(target=sender.uploads.run_next)
    slow.start()
    assert reading.wait(10)
    assert sender.uploads.run_next()  # the repeat, which waits for the slow one
    unplaceable = Unplaceable(sender)
    unplaceable.now = True
    go_on.set()
    slow.join(10)
    assert len(cloud.objects) == 2
    with pytest.raises(OSError, match="unreadable"):
        sender.uploads.run_next()
    unplaceable.now = False
    assert announced(sender, upload, cloud) == ["1.1", "1.2"]
