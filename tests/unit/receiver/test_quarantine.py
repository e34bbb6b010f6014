"""Copies of quarantined objects: kept as they are announced, found again, and discarded for age or want of space."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from contract import Ending
from contract.manifest import AssociationManifest, QuarantinedObject
from receiver.spool import StoredObject
from receiver.spool.quarantine import Quarantine

NOW = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)
ASSOCIATION = "20261124T021501Z-CT-9f3c2a71"


def kept(folder: Path, *days_ago: int) -> Quarantine:
    """A quarantine with an object for each; they are the second, third and so on of their association."""
    objects, held = [], []
    for number in range(1, len(days_ago) + 2):
        path = folder / f"{number}.dcm"
        path.write_bytes(b"%d" % number)
        objects.append(StoredObject(number * 7, path.parent, path.name, 1, NOW))
    for number, days in enumerate(days_ago, 2):
        held.append(
            QuarantinedObject(
                key=f"quarantine/edge-1/{ASSOCIATION}/{number:06d}-1.2.dcm",
                size_bytes=1,
                reason="cannot be read",
                sop_class_uid="1.2",
                sop_instance_uid="1.2",
                transfer_syntax_uid="1.2",
                received_at=NOW - timedelta(days=days),
            )
        )
    manifest = AssociationManifest(
        association=ASSOCIATION,
        edge="edge-1",
        sequence=1,
        calling_ae="CT",
        called_ae="ANY",
        peer="127.0.0.1",
        started_at=NOW,
        ended_at=NOW,
        ending=Ending.RELEASED,
        identical_repeats=0,
        parts=(),
        quarantined=tuple(held),
    )
    quarantine = Quarantine(folder)
    for _ in range(2):  # a message that is sent twice
        quarantine.keep(manifest, objects)
    for path in folder.glob("*.dcm"):  # the association's folder is removed
        path.unlink()
    return quarantine


def test_the_object_of_each_key_is_kept_by_its_order_of_arrival(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, 2, 1)
    assert [(one.path.read_bytes(), one.facts.calling_ae) for one in quarantine.objects()] == [(b"2", "CT"), (b"3", "CT")]


def test_what_is_too_old_is_discarded_and_its_folder_with_the_last(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, 31, 29)
    (gone,) = quarantine.make_room(NOW, timedelta(days=30), lambda: False)
    assert gone.name == f"{ASSOCIATION}/000002-1.2"
    assert [one.path.name for one in quarantine.objects()] == ["000003-1.2.dcm"]
    quarantine.make_room(NOW, timedelta(days=1), lambda: False)
    assert list(quarantine.folder.iterdir()) == []


def test_a_low_disk_takes_the_oldest_copies_until_it_is_low_no_more(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, 1, 3, 2)
    low = iter((True, True, False))
    gone = quarantine.make_room(NOW, timedelta(days=30), lambda: next(low))
    assert [one.path.name for one in gone] == ["000003-1.2.dcm", "000004-1.2.dcm"]


def test_a_file_that_is_no_copy_is_passed_over(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, 1)
    (quarantine.folder / ASSOCIATION / "000009-1.2.dcm").write_bytes(b"")
    (quarantine.folder / ASSOCIATION / "000009-1.2.json").write_text("{}")
    assert len(quarantine.objects()) == 1
