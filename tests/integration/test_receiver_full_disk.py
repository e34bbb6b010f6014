"""A small file system that is filled to the end: senders are told 0xA700, nothing is lost, and all goes on when space returns.

The disk is real, a tmpfs of some MiB, so that ENOSPC comes from where it comes in life.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.cloud import CloudUnavailableError
from receiver.dicom import pdu
from tests.support.receiver import CT, EXPLICIT, Edge, RawPeer, running_edge, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
MIB = 2**20
DISK_BYTES = 32 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.fail(
            f"This test mounts a small tmpfs and may not: {mounted.stderr.strip()}. Run it as root, with CAP_SYS_ADMIN."
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class Filler:
    """Whatever else fills the disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def leave(self, free_bytes: int) -> None:
        """Fill the disk up to so much."""
        with self._path.open("ab", buffering=0) as file:
            piece = bytes(65536)
            try:
                while True:
                    file.write(piece)
            except OSError:
                file.truncate(self._path.stat().st_size - free_bytes)

    def free(self) -> None:
        self._path.unlink()


def objects(edge: Edge) -> set[str]:
    """What is in the cloud, by SOP Instance UID."""
    return {key.rsplit("/", 1)[1].removesuffix(".dcm") for key in edge.cloud.objects if key.startswith("instances/")}


def store_until_refused(peer: RawPeer, prefix: str, size_bytes: int) -> set[str]:
    """The UIDs that were acknowledged before the first 0xA700."""
    acknowledged: set[str] = set()
    while True:
        uid = f"{prefix}.{len(acknowledged) + 1}"
        status = peer.store(uid.encode(), small_data_set(more=uid.encode()) + bytes(size_bytes))
        if status != 0x0000:
            assert status == 0xA700
            return acknowledged
        acknowledged.add(uid)


def is_rejected(edge: Edge) -> bool:
    peer = RawPeer(edge.port, STORAGE)
    peer.sock.close()
    if peer.answer[0] != pdu.ASSOCIATE_RJ:
        return False
    assert peer.answer[1][1:4] == bytes((2, 3, 1))
    return True


def test_a_disk_that_our_own_objects_fill_keeps_its_reserve_and_empties_by_itself(small_disk: Path) -> None:
    with running_edge(small_disk, disk_low_bytes=8 * MIB, disk_reserve_bytes=8 * MIB) as edge:
        edge.cloud.failure = CloudUnavailableError("away")
        peer = RawPeer(edge.port, STORAGE)
        acknowledged = store_until_refused(peer, "1.1", MIB)
        assert len(acknowledged) > 10
        assert shutil.disk_usage(small_disk).free > 7 * MIB
        until(lambda: is_rejected(edge), "new associations are rejected")
        peer.release()
        edge.cloud.failure = None
        assert [one.message.objects for one in edge.announced(1)] == [len(acknowledged)]
        assert objects(edge) == acknowledged
        until(lambda: not is_rejected(edge), "new associations are accepted")
        again = RawPeer(edge.port, STORAGE)
        assert again.store(b"1.2", small_data_set()) == 0x0000
        again.release()
        edge.announced(1)


@pytest.mark.parametrize("left_bytes", [0, MIB], ids=["at its first byte", "in its middle"])
def test_an_object_that_meets_the_end_of_the_disk_is_refused_and_goes_on_when_space_returns(
    small_disk: Path, left_bytes: int
) -> None:
    filler = Filler(small_disk)
    with running_edge(small_disk, disk_low_bytes=0, disk_reserve_bytes=0) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", small_data_set()) == 0x0000
        filler.leave(left_bytes)
        assert [peer.store(b"1.2", small_data_set() + bytes(4 * MIB)) for _ in range(2)] == [0xA700, 0xA700]
        filler.free()
        assert peer.store(b"1.3", small_data_set() + bytes(4 * MIB)) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.1", "1.3"]


def test_an_association_that_ends_while_the_disk_is_full_is_announced_when_space_returns(small_disk: Path) -> None:
    filler = Filler(small_disk)
    with running_edge(small_disk, disk_low_bytes=0, disk_reserve_bytes=0) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", small_data_set()) == 0x0000
        filler.leave(0)
        peer.release()
        until(lambda: objects(edge) == {"1.1"}, "the object is uploaded")
        assert edge.cloud.messages == []
        filler.free()
        (announced,) = edge.announced()
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.1"]
