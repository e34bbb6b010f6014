"""What an object costs in memory until its association is announced, while S3 is away and after it was uploaded."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contract import Ending
from receiver.arrivals import Arrivals
from receiver.filesystem import LocalFileSystem
from receiver.index import ObjectIndex
from receiver.placement import Placement
from receiver.spool import Seal, StartFacts, StoredObject
from receiver.spool.scratch import Scratch
from receiver.uploads import Uploads
from tests.support.cloud import FakeCloud
from tests.unit.receiver.test_uploads import Sender

NOW = datetime(2026, 11, 24, 2, 15, 1, tzinfo=UTC)
OBJECTS = 10_000
FACTS = StartFacts(
    association="20261124T021501Z-CT-00000000",
    edge="edge-1",
    calling_ae="CT",
    called_ae="ANY",
    peer="127.0.0.1",
    started_at=NOW,
    part_max_objects=5000,
    part_max_bytes=10**10,
    object_max_bytes=10**10,
)


def bytes_each(add: Callable[[int], object]) -> float:
    """What is held of each object afterwards."""
    add(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, OBJECTS + 1):
            add(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / OBJECTS
    finally:
        tracemalloc.stop()


def index(number: int) -> ObjectIndex:
    """UIDs as long as they come, most of an object's the same as the others'."""
    root = "1.2.826.0.1.3680043.8.498.1234567890123456789012345"
    return ObjectIndex(
        digest=hashlib.sha256(b"%d" % number).hexdigest(),
        sop_class_uid="".join(["1.2.840.10008.5.1.4.1.1.", "2"]),
        sop_instance_uid=f"{root}.{number:08}",
        study_instance_uid=f"{root}.1",
        series_instance_uid=f"{root}.2",
        transfer_syntax_uid="".join(["1.2.840.10008.1.2.", "1"]),
        fault="",
        checked=True,
    )


def test_an_object_that_waits_for_s3_costs_fifty_bytes() -> None:
    uploads = Uploads(FakeCloud(), bucket="bucket")
    folder, _ = Sender(FakeCloud()).begin()
    upload = uploads.begin(folder)

    def add(number: int) -> None:
        received_at = NOW + timedelta(milliseconds=number)
        upload.add(StoredObject(number + 1, Path("/spool"), f"{number}.dcm", 500 + number, received_at))

    assert bytes_each(add) < 50
    assert uploads.oldest_received_at == NOW


def test_the_oldest_that_waits_is_told_whatever_the_order_in_which_s3_gets_them() -> None:
    arrivals = Arrivals()
    assert arrivals.oldest_received_at is None
    for number in range(4):
        arrivals.add(StoredObject(number + 1, Path("/spool"), "name", 500, NOW + timedelta(seconds=number)))
    oldest: list[datetime | None] = []
    for done in (1, 0, 3, 2):
        arrivals.is_now_in_s3(done)
        oldest.append(arrivals.oldest_received_at)
    assert oldest == [NOW, NOW + timedelta(seconds=2), NOW + timedelta(seconds=2), None]
    arrivals.add(StoredObject(5, Path("/spool"), "name", 500, NOW + timedelta(seconds=9)))
    assert arrivals.oldest_received_at == NOW + timedelta(seconds=9)
    assert arrivals.stored(4, Path("/spool")).name == "000005-20261124T021510000Z.dcm"


def test_an_object_that_was_placed_costs_fifty_bytes_and_its_manifest_is_whole(tmp_path: Path) -> None:
    placement = Placement(FACTS, Scratch(LocalFileSystem(), lambda: tmp_path))
    assert bytes_each(lambda number: placement.add(index(number), 500, NOW + timedelta(milliseconds=number))) < 50
    manifest = placement.manifest(Seal(ending=Ending.RELEASED, ended_at=NOW, sequence=1))
    entries = [entry for part in placement.parts() for entry in part.entries]
    assert [part.objects for part in manifest.parts] == [5000, 5000, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["placed.tmp"]
    assert [entry.sop_instance_uid for entry in entries] == [index(number).sop_instance_uid for number in range(OBJECTS + 1)]
    assert entries[7].received_at == NOW + timedelta(milliseconds=7)
    assert (entries[7].digest, entries[7].series_instance_uid) == (index(7).digest, index(7).series_instance_uid)
