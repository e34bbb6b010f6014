"""Where an object belongs: what is quarantined, why, and under which key; the rest is tests of the whole receiver."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contract import Ending
from contract.manifest import AssociationManifest, PartManifest
from receiver.index import ObjectIndex
from receiver.placement import Place, Placement
from receiver.spool import Seal, StartFacts

NOW = datetime(2026, 11, 24, 2, 15, 1, tzinfo=UTC)
ASSOCIATION = "20261124T021501Z-CT-00000000"
FACTS = StartFacts(
    association=ASSOCIATION,
    edge="edge-1",
    calling_ae="CT",
    called_ae="ANY",
    peer="127.0.0.1",
    started_at=NOW,
    part_max_objects=10,
    part_max_bytes=10**9,
    object_max_bytes=1000,
)
FOLDER = f"quarantine/edge-1/{ASSOCIATION}"


def index(uid: str, content: str, *, fault: str = "", syntax: str = "1.2.840.10008.1.2.1", checked: bool = True) -> ObjectIndex:
    return ObjectIndex(
        digest=content.encode().hex().ljust(64, "0"),
        sop_class_uid="1.2",
        sop_instance_uid=uid,
        study_instance_uid="1.3",
        series_instance_uid="1.4",
        transfer_syntax_uid=syntax,
        fault=fault,
        checked=checked,
    )


@pytest.fixture
def placement() -> Placement:
    return Placement(FACTS)


def manifests(placement: Placement) -> tuple[AssociationManifest, list[PartManifest]]:
    return placement.manifest(Seal(ending=Ending.RELEASED, ended_at=NOW, sequence=1)), list(placement.parts())


def test_a_faulty_object_is_in_quarantine_and_in_no_part(placement: Placement) -> None:
    placement.add(index("1.1", "good"), 10, NOW)
    place = placement.add(index("1.2", "bad", fault="cannot be read: x"), 20, NOW)
    manifest, parts = manifests(placement)
    (held,) = manifest.quarantined
    assert place == Place(held.key, quarantined=True)
    assert held.key == f"{FOLDER}/000002-1.2.dcm"
    assert (held.reason, held.size_bytes, held.sop_instance_uid, held.received_at) == ("cannot be read: x", 20, "1.2", NOW)
    assert [entry.sop_instance_uid for part in parts for entry in part.entries] == ["1.1"]
    assert (manifest.objects, manifest.size_bytes) == (1, 30)


def test_an_object_over_the_limit_is_in_quarantine(placement: Placement) -> None:
    assert placement.add(index("1.1", "fits"), 1000, NOW).key.startswith("instances/")
    assert placement.add(index("1.2", "large"), 1001, NOW).key.startswith("quarantine/")
    (held,) = manifests(placement)[0].quarantined
    assert held.reason == "larger than the limit of 1000 bytes (AHI_INGEST_OBJECT_MAX_BYTES)"


def test_a_repeat_has_the_key_of_what_it_repeats_quarantined_or_not(placement: Placement) -> None:
    for arrival, fault in ((0, ""), (2, "cannot be read: x")):
        first = placement.add(index("1.1", "one", fault=fault), 10, NOW)
        again = placement.add(index("1.1", "one", fault=fault), 10, NOW)
        assert again == Place(first.key, repeats=arrival, quarantined=bool(fault))
    manifest, _ = manifests(placement)
    assert (manifest.objects, len(manifest.quarantined), manifest.identical_repeats) == (1, 1, 2)


def test_faulty_objects_of_one_uid_have_keys_of_their_own_and_supersede_nothing(placement: Placement) -> None:
    keys = {
        placement.add(index("../1", content, fault="cannot be read: x", syntax=syntax), 10, NOW).key
        for content, syntax in (("one", "1"), ("two", "1"), ("one", "2"))
    }
    assert len(keys) == 3
    assert all(key.count("/") == 3 and key.startswith(FOLDER) for key in keys)
    placement.add(index("../1", "good"), 10, NOW)
    _, (part,) = manifests(placement)
    assert [entry.supersedes for entry in part.entries] == [False]


def test_what_was_not_checked_is_counted_and_imported(placement: Placement) -> None:
    assert placement.add(index("1.1", "one", checked=False), 10, NOW).key.startswith("instances/")
    assert placement.unchecked == 1


def test_a_part_lists_other_content_of_a_uid_where_it_arrived(placement: Placement) -> None:
    for number in range(11):  # the last is in a second part
        placement.add(index(f"1.{number}", "one"), 10, NOW)
    again = placement.add(index("1.3", "two"), 10, NOW)
    placement.add(index("1.11", "one"), 10, NOW)
    assert placement.add(index("1.3", "two"), 10, NOW) == Place(again.key, repeats=11)
    _, (_, part) = manifests(placement)
    assert [(entry.sop_instance_uid, entry.supersedes) for entry in part.entries] == [
        ("1.10", False),
        ("1.3", True),
        ("1.11", False),
    ]
    assert part.entries[1].key == again.key
    assert "~" in again.key
