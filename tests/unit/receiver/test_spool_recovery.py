"""Each thing that a dead process may leave in the spool, by name, and what the next start makes of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract import Ending
from contract.manifest import AssociationManifest
from contract.strict import from_json
from receiver.cloud import CloudUnavailableError
from receiver.filesystem import LocalFileSystem
from receiver.part10 import head_bytes
from receiver.spool import AssociationFolder, Spool, SpoolInUseError
from receiver.uploads import AssociationUpload, Uploads
from tests.support.cloud import FakeCloud
from tests.support.forgetful import Chooser, CrashError, ForgetfulFileSystem

NOW = datetime(2026, 11, 24, 2, 15, 1, 123000, tzinfo=UTC)
HEAD = head_bytes(sop_class=b"1.2.3", sop_instance=b"1.9", transfer_syntax=b"1.2.4", source_ae=b"CT")


class Life:
    """A receiver whose process can die at any point, its disk and its cloud."""

    def __init__(self) -> None:
        self.disk = ForgetfulFileSystem()
        self.cloud = FakeCloud()
        self.start()

    def start(self) -> None:
        self.spool = Spool(
            Path("/spool"),
            edge="edge-1",
            files=self.disk,
            part_max_objects=5000,
            part_max_bytes=10**10,
            object_max_bytes=10**10,
            now=lambda: NOW,
        )
        self.uploads = Uploads(self.cloud, bucket="bucket")

    def begin(self) -> tuple[AssociationFolder, AssociationUpload]:
        folder = self.spool.begin_association(calling_ae="CT", called_ae="ANY", peer="127.0.0.1")
        return folder, self.uploads.begin(folder)

    def store(self, folder: AssociationFolder, upload: AssociationUpload, content: bytes) -> None:
        writer = folder.begin_object(HEAD)
        writer.write([content])
        upload.add(writer.commit())

    def work(self) -> None:
        while self.uploads.run_next():
            pass

    def die(self) -> None:
        """kill -9: what was written stays."""
        self.disk = self.disk.crashed(Chooser(None, keep_all=True))

    def recover(self) -> list[AssociationFolder]:
        self.start()
        leftovers = self.spool.leftovers()
        for folder in leftovers:
            self.uploads.resume(folder)
        self.work()
        return leftovers

    def folders(self) -> list[str]:
        return [path for path in self.disk.tree() if "-CT-" in path]

    def manifests(self) -> list[AssociationManifest]:
        return [
            from_json(AssociationManifest, content)
            for key, content in self.cloud.objects.items()
            if key.endswith("/manifest.json")
        ]


@pytest.fixture
def life() -> Life:
    return Life()


def dies_at(life: Life, operation: str, act: Callable[[], object]) -> None:
    """Do `act` with the process dying just before the disk's next `operation`."""
    real = getattr(life.disk, operation)

    def die(*_: object) -> None:
        life.disk._dead = True
        raise CrashError

    setattr(life.disk, operation, die)
    with pytest.raises(CrashError):
        act()
    setattr(life.disk, operation, real)
    life.die()


def test_a_half_written_object_is_removed_and_the_objects_before_are_kept(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    writer = folder.begin_object(HEAD)
    writer.write([b"half"])
    life.die()
    life.recover()
    (manifest,) = life.manifests()
    assert (manifest.objects, manifest.ending, manifest.calling_ae) == (1, Ending.RECOVERED, "CT")
    assert life.folders() == []


def test_a_folder_without_an_object_is_removed_in_silence(life: Life) -> None:
    folder, _ = life.begin()
    writer = folder.begin_object(HEAD)
    dies_at(life, "sync_file", writer.commit)
    assert life.recover() == []
    assert (life.folders(), life.cloud.objects, life.cloud.messages) == ([], {}, [])


def test_a_folder_without_its_start_facts_is_removed_in_silence(life: Life) -> None:
    folder, _ = life.begin()
    dies_at(life, "create", lambda: folder.begin_object(HEAD))
    assert life.recover() == []
    assert (life.folders(), life.cloud.messages) == ([], [])


def test_an_association_that_never_ended_is_sealed_as_recovered(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    life.die()
    life.recover()
    assert [manifest.ending for manifest in life.manifests()] == [Ending.RECOVERED]


def test_a_sealed_association_keeps_its_own_ending_and_number(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    upload.end(Ending.ABORTED, NOW)
    life.die()
    life.recover()
    assert [(manifest.ending, manifest.sequence) for manifest in life.manifests()] == [(Ending.ABORTED, 1)]


def test_an_association_that_is_half_uploaded_is_uploaded_again_under_the_same_keys(life: Life) -> None:
    folder, upload = life.begin()
    for content in (b"one", b"two"):
        life.store(folder, upload, content)
    upload.end(Ending.RELEASED, NOW)
    life.uploads.run_next()
    before = set(life.cloud.objects)
    assert len(before) == 1
    life.die()
    life.recover()
    assert before < set(life.cloud.objects)
    assert len([key for key in life.cloud.objects if key.startswith("instances/")]) == 2


def test_what_is_uploaded_without_a_manifest_gets_one(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    upload.end(Ending.RELEASED, NOW)
    life.uploads.run_next()
    dies_at(life, "create", life.uploads.run_next)
    life.recover()
    assert (len(life.manifests()), len(life.cloud.messages)) == (1, 1)


def test_a_manifest_without_a_message_is_announced_without_the_objects_being_sent_again(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    upload.end(Ending.RELEASED, NOW)
    life.uploads.run_next()
    life.cloud.failure = CloudUnavailableError("away")
    with pytest.raises(CloudUnavailableError):
        life.uploads.run_next()
    life.cloud.failure = None
    life.die()
    instances = {key for key in life.cloud.objects if key.startswith("instances/")}
    for key in instances:
        del life.cloud.objects[key]  # would be there again if it were sent again
    life.recover()
    assert len(life.cloud.messages) == 1
    assert not any(key.startswith("instances/") for key in life.cloud.objects)


def test_a_message_before_the_removal_is_sent_again_the_same(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    upload.end(Ending.RELEASED, NOW)
    life.uploads.run_next()
    dies_at_removal(life)
    assert len(life.cloud.messages) == 1
    life.recover()
    assert len(life.cloud.messages) == 2
    assert len(set(life.cloud.messages)) == 1
    assert life.folders() == []


def dies_at_removal(life: Life) -> None:
    """The process dies just before the folder is renamed to removed-..."""
    real = life.disk.rename

    def rename(folder: Path, name: str, new_name: str) -> None:
        if new_name.startswith("removed-"):
            life.disk._dead = True
            raise CrashError
        real(folder, name, new_name)

    life.disk.rename = rename  # type: ignore[method-assign]
    with pytest.raises(CrashError):
        life.uploads.run_next()
    life.die()


def test_a_half_removed_folder_is_removed_and_not_announced_again(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    upload.end(Ending.RELEASED, NOW)
    life.uploads.run_next()
    dies_at(life, "remove_folder", life.uploads.run_next)
    assert any("/removed-" in path for path in life.disk.tree())
    assert life.recover() == []
    assert (len(life.cloud.messages), life.folders()) == (1, [])


def test_an_object_whose_start_facts_are_gone_is_still_announced(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    life.die()
    life.disk.remove_file(folder.path / "association.json")
    life.recover()
    (manifest,) = life.manifests()
    assert (manifest.association, manifest.calling_ae, manifest.objects) == (folder.facts.association, "", 1)


def test_a_folder_that_cannot_be_read_is_left_and_the_others_are_recovered(life: Life) -> None:
    bad, upload = life.begin()
    life.store(bad, upload, b"one")
    good, good_upload = life.begin()
    life.store(good, good_upload, b"two")
    upload.end(Ending.RELEASED, NOW)
    life.die()
    life.disk.remove_file(bad.path / "sealed.json")
    life.disk.write(life.disk.create(bad.path, "sealed.json"), [b"noise"])
    life.recover()
    assert [manifest.association for manifest in life.manifests()] == [good.facts.association]
    assert [path for path, _ in life.spool.unreadable] == [bad.path]
    assert any(path.startswith(str(bad.path)) for path in life.disk.tree())


def failing(life: Life, operation: str, error: int, *, when: Callable[..., bool]) -> Callable[[], None]:
    """Let the disk fail at an operation with such arguments, until the function that is returned is called."""
    disk, real = life.disk, getattr(life.disk, operation)

    def fail(*arguments: Any, **named: Any) -> object:
        if when(*arguments):
            raise OSError(error, os.strerror(error))
        return real(*arguments, **named)

    setattr(disk, operation, fail)
    return lambda: setattr(disk, operation, real)


def test_what_cannot_be_sealed_on_a_full_disk_waits_for_room_and_the_others_do_not_wait(life: Life) -> None:
    ended, upload = life.begin()
    life.store(ended, upload, b"one")
    upload.end(Ending.RELEASED, NOW)
    broken_off, other_upload = life.begin()
    life.store(broken_off, other_upload, b"two")
    life.die()
    life.start()
    room = failing(life, "create", errno.ENOSPC, when=lambda _folder, name: "sealed" in name)
    assert [folder.facts.association for folder in life.spool.leftovers()] == [ended.facts.association]
    assert life.spool.waiting == [(broken_off.path, "No space left on device")]
    assert life.spool.leftovers() == []
    room()
    (late,) = life.spool.leftovers()
    assert (late.facts, late.sealed is not None and late.sealed.ending) == (broken_off.facts, Ending.RECOVERED)
    assert (life.spool.waiting, life.spool.unreadable) == ([], [])


@pytest.mark.parametrize("operation", ["lock", "names"])
def test_a_boot_folder_that_cannot_be_opened_waits_and_the_others_do_not(life: Life, operation: str) -> None:
    folders = []
    for content in (b"one", b"two", b"three"):
        folder, upload = life.begin()
        life.store(folder, upload, content)
        upload.end(Ending.RELEASED, NOW)
        folders.append(folder)
        life.die()
        life.start()
    _, second, _ = boots = sorted({folder.path.parent for folder in folders})
    opened = failing(life, operation, errno.EMFILE, when=lambda path: path in (second, second / "lock"))
    assert {folder.path.parent for folder in life.spool.leftovers()} == {boots[0], boots[2]}
    assert life.spool.waiting == [(second, "Too many open files")]
    opened()
    assert [folder.path.parent for folder in life.spool.leftovers()] == [second]
    assert (life.spool.waiting, life.spool.leftovers()) == ([], [])


def test_a_removal_that_fails_when_the_folder_is_found_goes_on_at_the_next_look(life: Life) -> None:
    folder, _ = life.begin()
    folder.begin_object(HEAD)
    life.die()
    life.start()
    mended = failing(life, "remove_folder", errno.EIO, when=lambda *_: True)
    assert life.spool.leftovers() == []
    assert [error for _, error in life.spool.waiting] == ["Input/output error"]
    mended()
    assert (life.spool.leftovers(), life.spool.waiting, life.folders()) == ([], [], [])


def test_what_a_living_process_owns_is_not_touched(life: Life) -> None:
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    boot = folder.path.parent
    life.die()
    life.disk.lock(boot / "lock")
    before = [path for path in life.disk.tree() if str(boot) in path]
    assert life.recover() == []
    assert [path for path in life.disk.tree() if str(boot) in path] == before


def test_sequence_numbers_go_on_after_a_restart(life: Life) -> None:
    for _ in range(3):
        folder, upload = life.begin()
        life.store(folder, upload, b"one")
        upload.end(Ending.RELEASED, NOW)
        life.work()
        life.die()
        life.recover()
    assert [json.loads(message)["sequence"] for message in life.cloud.messages] == [1, 2, 3]


def test_a_spool_on_a_real_disk_has_one_owner_and_gives_it_back(tmp_path: Path) -> None:
    def spool() -> Spool:
        return Spool(
            tmp_path, edge="edge-1", files=LocalFileSystem(), part_max_objects=1, part_max_bytes=1, object_max_bytes=10**10
        )

    first = spool()
    with pytest.raises(SpoolInUseError, match="Stop it first, or give this one a spool of its own"):
        spool()
    first.close()
    spool().close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_leftover_is_taken_up_by_one_sibling_and_not_again(tmp_path: Path) -> None:
    def worker() -> Spool:
        return Spool(
            tmp_path,
            edge="edge-1",
            files=LocalFileSystem(),
            part_max_objects=9,
            part_max_bytes=10**6,
            object_max_bytes=10**10,
            owned=True,
        )

    dead = worker()
    for content in (b"", b"one"):  # the first association has no object: it goes, and the second must stay owned
        folder = dead.begin_association(calling_ae="A" if content else "0", called_ae="ANY", peer="127.0.0.1")
        writer = folder.begin_object(HEAD)
        writer.write([content])
        if content:
            writer.commit()
    dead._boot._release()
    first, second = worker(), worker()
    (left,) = first.leftovers()
    assert (second.leftovers(), first.leftovers()) == ([], [])
    left.remove()
    for spool in (first, second):
        spool.close()
    assert list((tmp_path / "out").iterdir()) == []


# Associations that share a folder


SECOND = "20261124T021502Z-CT-00000002"


def shared(life: Life) -> tuple[AssociationFolder, AssociationUpload]:
    """A folder whose first association has ended, and in which others may go on."""
    folder, upload = life.begin()
    life.store(folder, upload, b"one")
    folder.end_member(Ending.RELEASED, NOW)
    return folder, upload


def test_between_two_associations_that_share_a_folder_it_is_sealed_as_they_ended(life: Life) -> None:
    folder, upload = shared(life)
    folder.begin_member(SECOND, NOW)
    life.store(folder, upload, b"two")
    life.store(folder, upload, b"three")
    folder.end_member(Ending.ABORTED, NOW)
    life.die()
    life.recover()
    (manifest,) = life.manifests()
    assert [(one.association, one.ending, one.objects) for one in manifest.members] == [
        (folder.facts.association, Ending.RELEASED, 1),
        (SECOND, Ending.ABORTED, 2),
    ]
    assert manifest.ending is Ending.ABORTED


def test_of_associations_that_share_a_folder_only_the_one_that_had_not_ended_is_recovered(life: Life) -> None:
    folder, upload = shared(life)
    folder.begin_member(SECOND, NOW)
    life.store(folder, upload, b"two")
    life.die()
    life.recover()
    (manifest,) = life.manifests()
    assert [one.ending for one in manifest.members] == [Ending.RELEASED, Ending.RECOVERED]
    assert manifest.ending is Ending.RECOVERED


def test_an_association_that_went_on_in_a_folder_and_stored_nothing_is_not_in_the_manifest(life: Life) -> None:
    folder, _ = shared(life)
    folder.begin_member(SECOND, NOW)
    writer = folder.begin_object(HEAD)
    dies_at(life, "sync_file", writer.commit)
    life.recover()
    (manifest,) = life.manifests()
    assert (manifest.ending, manifest.objects, manifest.members) == (Ending.RELEASED, 1, ())


def test_an_association_that_waited_for_others_in_vain_has_ended_as_it_did(life: Life) -> None:
    shared(life)
    life.die()
    life.recover()
    (manifest,) = life.manifests()
    assert (manifest.ending, manifest.members) == (Ending.RELEASED, ())
