"""What senders are told when the disk does not take an object, and that nothing else suffers."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.cloud import CloudUnavailableError
from receiver.filesystem import Chunk, LocalFileSystem
from receiver.spool.recycling import FOLDER
from tests.support.cloud import FakeCloud
from tests.support.receiver import CT, EXPLICIT, RawPeer, association_folders, running_edge, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}


class FailingDisk(LocalFileSystem):
    """Real files; the operation named fails as often as told, where objects are concerned."""

    def __init__(self) -> None:
        self.failing = ""
        self.error = errno.ENOSPC
        self.times = 0

    def create(self, folder: Path, name: str) -> int:
        self._maybe_fail("create")
        return super().create(folder, name)

    def write(self, file: int, chunks: Sequence[Chunk]) -> int:
        self._maybe_fail("write")
        return super().write(file, chunks)

    def sync_file(self, file: int) -> None:
        self._maybe_fail("sync_file")
        super().sync_file(file)

    def close(self, file: int) -> None:
        super().close(file)
        self._maybe_fail("close")

    def rename(self, folder: Path, name: str, new_name: str) -> None:
        self._maybe_fail("rename")
        super().rename(folder, name, new_name)

    def sync_folder(self, path: Path) -> None:
        self._maybe_fail("sync_folder")
        super().sync_folder(path)

    def _maybe_fail(self, operation: str) -> None:
        if operation == self.failing and self.times > 0:
            self.times -= 1
            raise OSError(self.error, "the disk did not do it")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["create", "write", "sync_file", "close", "rename"])
def test_an_object_that_the_disk_does_not_take_is_answered_out_of_resources(tmp_path: Path, operation: str, error: int) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", small_data_set(more=b"1")) == 0x0000
        disk.failing, disk.error, disk.times = operation, error, 1
        assert peer.store(b"1.2", small_data_set() + bytes(1_000_000)) == 0xA700
        assert peer.store(b"1.3", small_data_set(more=b"3")) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.1", "1.3"]


def test_a_folder_whose_sync_failed_takes_no_more_objects_and_the_next_association_does(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", small_data_set()) == 0x0000
        disk.failing, disk.times = "sync_folder", 1
        assert [peer.store(b"1.%d" % number, small_data_set()) for number in (2, 3)] == [0xA700, 0xA700]
        peer.release()
        again = RawPeer(edge.port, STORAGE)
        assert again.store(b"1.2", small_data_set()) == 0x0000
        again.release()
        assert sorted(len(one.entries) for one in edge.announced(2)) == [1, 1]


def test_an_association_whose_folder_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk) as edge:
        peer = RawPeer(edge.port, STORAGE)
        disk.failing, disk.times = "sync_file", 1  # association.json
        assert [peer.store(b"1.%d" % number, small_data_set()) for number in (1, 2)] == [0xA700, 0xA700]
        peer.release()
        assert edge.receiver.uploads.wait_until_done(5)
        assert association_folders(edge.settings.spool) == []
        assert edge.cloud.messages == []


def test_a_seal_that_the_disk_does_not_take_at_first_is_written_later(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", small_data_set()) == 0x0000
        disk.failing, disk.times = "create", 2
        peer.release()
        (announced,) = edge.announced()
        assert (str(announced.manifest.ending), announced.manifest.sequence) == ("released", 1)


class MeasuredDisk(LocalFileSystem):
    """Real files, and as much free space as told; how many files were written over."""

    def __init__(self) -> None:
        self.free, self.reused = 10**12, 0

    def free_bytes(self, path: Path) -> int:
        return self.free

    def reuse(self, path: Path, new_path: Path) -> int:
        self.reused += 1
        return super().reuse(path, new_path)


def test_objects_are_written_over_files_that_were_uploaded_unless_the_disk_has_no_room_for_these(tmp_path: Path) -> None:
    disk, content = MeasuredDisk(), small_data_set()
    with running_edge(tmp_path, files=disk, disk_low_bytes=0, disk_reserve_bytes=0, recycle_bytes=10**6) as edge:

        def sent() -> bytes:
            peer = RawPeer(edge.port, STORAGE)
            assert peer.store(b"1.1", content) == 0
            peer.release()
            (announced,) = edge.announced()
            return edge.data_set(announced.entries[0])

        assert (sent(), disk.reused) == (content, 0)
        assert (sent(), disk.reused) == (content, 1)
        disk.free = 10**6 - 1
        until(lambda: not list(edge.settings.spool.glob(f"out/*/{FOLDER}/*")), "recycled files are removed", 10)


class UnreadableObject(LocalFileSystem):
    """Real files; the size of an object cannot be told while `broken`, where its association's folder is `folder`."""

    def __init__(self) -> None:
        self.folder, self.broken = "", True

    def size(self, path: Path) -> int:
        if self.broken and path.suffix == ".dcm" and path.parent.name == self.folder:
            raise OSError(errno.EUCLEAN, "Structure needs cleaning")
        return super().size(path)


def test_an_object_that_cannot_be_read_at_the_start_keeps_neither_others_nor_new_ones_and_goes_on_once_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = FakeCloud()
    cloud.failure = CloudUnavailableError("away")
    with running_edge(tmp_path, cloud, drain_timeout_seconds=0.2) as edge:
        for name in (b"1.1", b"1.2"):
            peer = RawPeer(edge.port, STORAGE)
            assert peer.store(name, small_data_set(more=name)) == 0x0000
            peer.release()
        until(lambda: len(list(edge.settings.spool.glob("out/*/*/sealed.json"))) == 2, "both sealed")
    cloud.failure = None
    disk = UnreadableObject()
    (first, second) = sorted(path.name for path in association_folders(tmp_path / "spool"))
    disk.folder = first
    with running_edge(tmp_path, cloud, disk) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.3", small_data_set(more=b"3")) == 0x0000
        peer.release()
        assert {one.manifest.association for one in edge.announced(2)} >= {second}
        assert not edge.receiver.is_idle
        assert edge.receiver.report().uploading == 1
        assert [record.__dict__["folder"] for record in caplog.records if "taken up" in record.message] == [first]
        disk.broken = False
        until(lambda: len(cloud.messages) == 3, "it is looked at again, as it is each 5 s", 15)
        (late,) = edge.announced()
        assert (late.manifest.association, late.manifest.objects) == (first, 1)
        until(lambda: edge.receiver.is_idle, "idle")
