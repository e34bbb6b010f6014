"""Several processes on one spool: a folder has one owner, a dead one's is taken over, a number is given once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import Ending
from contract.strict import utc_now
from receiver.filesystem import LocalFileSystem
from receiver.part10 import head_bytes
from receiver.spool import AssociationFolder, Spool, SpoolInUseError, own_spool

HEAD = head_bytes(sop_class=b"1.2.3", sop_instance=b"1.9", transfer_syntax=b"1.2.4", source_ae=b"CT")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A spool that a supervisor owns."""
    release = own_spool(tmp_path, LocalFileSystem())
    yield tmp_path
    release()


def worker(root: Path) -> Spool:
    return Spool(
        root,
        edge="edge-1",
        files=LocalFileSystem(),
        part_max_objects=10,
        part_max_bytes=10**9,
        object_max_bytes=10**10,
        owned=True,
    )


def association_with_an_object(spool: Spool) -> AssociationFolder:
    folder = spool.begin_association(calling_ae="CT", called_ae="ANY", peer="127.0.0.1")
    folder.begin_object(HEAD).commit()
    return folder


def test_a_worker_takes_over_what_a_dead_one_left_and_leaves_what_a_living_one_fills(root: Path) -> None:
    living, dead = worker(root), worker(root)
    association_with_an_object(living)
    left = association_with_an_object(dead)
    dead.close()  # what the kernel does with the lock of a process that died
    successor = worker(root)
    assert [folder.facts for folder in successor.leftovers()] == [left.facts]
    assert worker(root).leftovers() == []


def test_an_object_with_an_empty_data_set_is_kept_as_its_head_and_others_as_head_and_data(root: Path) -> None:
    folder = association_with_an_object(worker(root))
    writer = folder.begin_object(HEAD)
    for chunks in ([b"ab", b"c"], [b"d"]):
        writer.write(chunks)
    writer.commit()
    assert [stored.path.read_bytes() for stored in folder.objects()] == [HEAD, HEAD + b"abcd"]
    assert [stored.size_bytes for stored in folder.objects()] == [len(HEAD), len(HEAD) + 4]


def test_workers_that_start_at_the_same_time_recover_a_folder_once(root: Path) -> None:
    dead = worker(root)
    association_with_an_object(dead)
    dead.close()
    found: list[AssociationFolder] = []

    def start() -> None:
        found.extend(worker(root).leftovers())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_workers_that_seal_at_the_same_time_get_numbers_of_their_own(root: Path) -> None:
    folders = [association_with_an_object(worker(root)) for _ in range(8)]
    threads = [threading.Thread(target=folder.seal, args=(Ending.RELEASED, utc_now())) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.sealed.sequence for folder in folders if folder.sealed) == list(range(1, 9))


def test_a_second_supervisor_is_told_what_to_do(root: Path) -> None:
    with pytest.raises(SpoolInUseError, match="Stop it first, or give this one a spool of its own"):
        own_spool(root, LocalFileSystem())
