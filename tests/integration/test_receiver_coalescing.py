"""Associations that follow each other closely share a manifest, when that is wanted; each keeps its id."""

from __future__ import annotations

import itertools
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from bench.programs import dcmtk
from contract import Ending
from tests.integration.test_receiver_disk import FailingDisk
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.receiver import CT, EXPLICIT, Announced, Edge, RawPeer, running_edge, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
NEVER = 300
"""Seconds that no test lasts."""


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """It waits until it is told to drain."""
    with running_edge(tmp_path, coalesce_seconds=NEVER) as running:
        yield running


def wait_until_ended(edge: Edge) -> None:
    until(lambda: not edge.receiver.connections, "association ended")


def store_one(edge: Edge, sop: bytes, *, more: bytes = b"x", calling_ae: bytes = b"RAW") -> None:
    peer = RawPeer(edge.port, STORAGE, calling_ae=calling_ae)
    assert peer.store(sop, small_data_set(more=more)) == 0
    peer.release()
    wait_until_ended(edge)


def drained(edge: Edge, count: int = 1) -> list[Announced]:
    edge.receiver.drain()
    return edge.announced(count)


def test_thirty_associations_of_one_image_make_one_manifest_that_names_each(
    edge: Edge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for path in ct_series(tmp_path, 30):
        command = [dcmtk("storescu"), "-aet", "US_1", "127.0.0.1", str(edge.port), str(path)]
        subprocess.run(command, check=True, capture_output=True, env={"TCP_NODELAY": "1"})
        wait_until_ended(edge)
    assert edge.cloud.messages == []
    until(lambda: len(edge.cloud.objects) == 30, "uploaded while the manifest waits")
    (announced,) = drained(edge)
    members = announced.manifest.members
    logged = [record.association for record in caplog.records if record.message == "association ended"]  # type: ignore[attr-defined]
    assert [member.association for member in members] == logged
    assert len(set(logged)) == 30
    assert logged[0] == announced.message.association
    assert {(member.objects, member.ending) for member in members} == {(1, Ending.RELEASED)}
    assert (announced.manifest.objects, announced.manifest.ending) == (30, Ending.RELEASED)
    assert all(one.ended_at <= other.started_at for one, other in itertools.pairwise(members))
    for member, entry in zip(members, announced.entries, strict=True):
        assert member.started_at <= entry.received_at <= member.ended_at
    assert edge.receiver.report().ended == {"released US_1": 30}


def test_by_default_each_association_has_a_manifest_of_its_own(tmp_path: Path) -> None:
    with running_edge(tmp_path) as edge:
        for number in range(3):
            store_one(edge, b"1.%d" % number)
        assert [(one.manifest.objects, one.manifest.members) for one in edge.announced(3)] == [(1, ())] * 3


def test_an_association_that_nobody_joins_has_a_manifest_without_members(edge: Edge) -> None:
    store_one(edge, b"1.1")
    assert drained(edge)[0].manifest.members == ()


def test_concurrent_associations_and_those_of_other_senders_do_not_share(edge: Edge) -> None:
    first, second = (RawPeer(edge.port, STORAGE) for _ in range(2))
    for number, peer in enumerate((first, second)):
        assert peer.store(b"1.%d" % number, small_data_set()) == 0
        peer.release()
    wait_until_ended(edge)
    store_one(edge, b"1.3", calling_ae=b"OTHER")
    assert sorted((one.manifest.calling_ae, one.manifest.members) for one in drained(edge, 3)) == [
        ("OTHER", ()),
        ("RAW", ()),
        ("RAW", ()),
    ]


def test_a_manifest_is_made_once_nothing_has_joined_for_the_time(tmp_path: Path) -> None:
    with running_edge(tmp_path, coalesce_seconds=0.05) as edge:
        for number in range(2):
            store_one(edge, b"1.%d" % number)
            edge.announced()


def test_after_ten_times_that_a_manifest_is_made_though_more_comes(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0, NEVER // 2)  # one step and more for each association that ends
    monkeypatch.setattr(edge.receiver._coalescing, "_clock", lambda: next(seconds))
    sent = 0
    while not edge.cloud.messages and sent < 40:
        store_one(edge, b"1.%d" % sent)
        sent += 1
    members = len(edge.announced()[0].manifest.members)
    assert members <= sent  # who came while it was announced has the next one
    assert 3 < members <= 20


def test_a_full_part_ends_the_sharing(tmp_path: Path) -> None:
    with running_edge(tmp_path, coalesce_seconds=NEVER, part_max_objects=2) as edge:
        for number in range(3):
            store_one(edge, b"1.%d" % number)
        assert len(edge.announced()[0].manifest.members) == 2
        assert drained(edge)[0].manifest.objects == 1


def test_the_same_object_in_two_associations_is_a_repeat_and_another_version_of_it_supersedes(edge: Edge) -> None:
    for more in (b"a", b"a", b"b"):
        store_one(edge, b"1.1", more=more)
    (announced,) = drained(edge)
    assert (announced.manifest.identical_repeats, [part.objects for part in announced.manifest.parts]) == (1, [1, 1])
    assert [entry.supersedes for entry in announced.entries] == [False, True]
    assert [member.objects for member in announced.manifest.members] == [1, 1, 1]


def test_an_association_that_was_broken_off_is_named_so_and_one_without_an_object_is_not_named(edge: Edge) -> None:
    store_one(edge, b"1.1")
    broken = RawPeer(edge.port, STORAGE)
    assert broken.store(b"1.2", small_data_set()) == 0
    broken.abort()
    wait_until_ended(edge)
    RawPeer(edge.port, STORAGE).release()
    wait_until_ended(edge)
    store_one(edge, b"1.3")
    manifest = drained(edge)[0].manifest
    assert [member.ending for member in manifest.members] == [Ending.RELEASED, Ending.ABORTED, Ending.RELEASED]
    assert manifest.ending is Ending.ABORTED


def test_an_association_that_is_open_while_the_receiver_drains_is_announced_when_it_ends(edge: Edge) -> None:
    store_one(edge, b"1.1")
    peer = RawPeer(edge.port, STORAGE)
    edge.receiver.drain()
    assert peer.store(b"1.2", small_data_set()) == 0
    assert edge.cloud.messages == []
    peer.release()
    assert len(edge.announced()[0].manifest.members) == 2
    until(lambda: edge.receiver.is_idle, "idle")


def test_a_folder_that_the_disk_has_failed_is_not_shared_any_more(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk, coalesce_seconds=NEVER) as edge:
        store_one(edge, b"1.1")
        disk.failing, disk.times = "sync_folder", 1
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.2", small_data_set()) == 0xA700
        peer.release()
        store_one(edge, b"1.2")
        assert [one.manifest.members for one in (*edge.announced(), *drained(edge))] == [(), ()]


def test_how_an_association_ended_is_kept_once_the_disk_takes_it(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk, coalesce_seconds=NEVER) as edge:
        store_one(edge, b"1.1")
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.2", small_data_set()) == 0
        disk.failing, disk.times = "rename", 2  # its end, and the seal's first attempt
        peer.abort()
        (announced,) = edge.announced()
        assert [member.ending for member in announced.manifest.members] == [Ending.RELEASED, Ending.ABORTED]


def test_objects_are_committed_while_their_manifest_waits_and_once_it_is_made(edge: Edge, tmp_path: Path) -> None:
    slices = [pydicom.dcmread(path) for path in ct_series(tmp_path / "ct", 3)]
    uids = [str(one.SOPInstanceUID) for one in slices]
    requester = Requester()
    for number, one in enumerate(slices):
        with requester.associated(edge.port) as association:
            assert association.send_c_store(one).Status == 0
            assert ask(association, *uids[: number + 1])[0] == 0
            assert requester.told().committed == uids[: number + 1]
        wait_until_ended(edge)
    assert edge.cloud.messages == []
    with requester.associated(edge.port) as association:
        edge.receiver.drain()
        assert ask(association, *uids)[0] == 0
        assert requester.told().committed == uids
    assert len(edge.announced()[0].manifest.members) == 3
