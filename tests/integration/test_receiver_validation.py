"""Objects that cannot be read, are not what their command named, or are too large: kept and quarantined, or refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from receiver.dicom import pdu
from tests.support.receiver import (
    CT,
    EXPLICIT,
    MR,
    RawPeer,
    association_folders,
    element,
    running_edge,
    small_data_set,
    store_pdus,
)

JPEG = b"1.2.840.10008.1.2.4.50"
STORAGE = {1: (CT, (EXPLICIT,)), 3: (CT, (JPEG,))}
PIXELS = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"jpeg"


def named(sop_class: bytes, sop_instance: bytes) -> bytes:
    """A data set with UIDs of its own."""
    uids = (value + b"\0" * (len(value) % 2) for value in (sop_class, sop_instance))
    return b"".join(element(0x0008, number, b"UI", value) for number, value in zip((0x16, 0x18), uids, strict=True))


# name: (presentation context, data set, reason, status of strict validation, Offending Element)
FAULTY = {
    "cut": (1, small_data_set()[:-1], "cannot be read: the data set ends within an element", 0xC000, 0x00204000),
    "pixel data without end": (
        *(3, small_data_set() + PIXELS),
        *("cannot be read: a sequence or the pixel data has no end, which is (FFFE,E0DD)", 0xC000, 0x7FE00010),
    ),
    "other instance": (
        *(1, named(CT, b"1.8") + small_data_set()),
        *("SOPInstanceUID (0008,0018) differs from the C-STORE command's", 0xA900, 0x00080018),
    ),
    "other class": (
        *(1, named(MR, b"1.9") + small_data_set()),
        *("SOPClassUID (0008,0016) differs from the C-STORE command's", 0xA900, 0x00080016),
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_object_is_acknowledged_and_quarantined_with_its_reason(tmp_path: Path, name: str) -> None:
    context_id, data_set, reason, _, _ = FAULTY[name]
    with running_edge(tmp_path) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.1", named(CT, b"1.1") + small_data_set()) == 0x0000
        assert peer.store(b"1.9", data_set, context_id=context_id) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        (held,) = announced.manifest.quarantined
        assert (held.reason, held.sop_instance_uid, held.sop_class_uid) == (reason, "1.9", CT.decode())
        assert held.key == f"quarantine/edge-1/{announced.message.association}/000002-1.9.dcm"
        assert edge.cloud.objects[held.key].endswith(data_set)
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.1"]
        assert (announced.message.objects, announced.message.quarantined) == (1, 1)


@pytest.mark.parametrize("name", FAULTY)
def test_strict_validation_refuses_a_faulty_object_and_names_the_element(tmp_path: Path, name: str) -> None:
    context_id, data_set, reason, status, offending = FAULTY[name]
    with running_edge(tmp_path, validation="strict") as edge:
        peer = RawPeer(edge.port, STORAGE)
        peer.sock.sendall(store_pdus(b"1.9", data_set, context_id=context_id, fragment=11))
        _, body = peer.receive()
        answer = pdu.command_elements(body[6:])
        assert pdu.unsigned_short(answer, pdu.STATUS) == status
        assert answer[pdu.OFFENDING_ELEMENT] == struct.pack("<HH", offending >> 16, offending & 0xFFFF)
        assert reason.startswith(answer[pdu.ERROR_COMMENT].decode().strip())
        assert peer.store(b"1.1", named(CT, b"1.1") + small_data_set()) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        assert ([entry.sop_instance_uid for entry in announced.entries], announced.manifest.quarantined) == (["1.1"], ())


def test_strict_validation_with_nothing_good_leaves_nothing(tmp_path: Path) -> None:
    with running_edge(tmp_path, validation="strict") as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()[:-1]) == 0xC000
        peer.release()
        assert edge.receiver.uploads.wait_until_done(5)
        assert (association_folders(edge.settings.spool), edge.cloud.messages) == ([], [])


@pytest.mark.parametrize("validation", ["quarantine", "strict"])
def test_an_object_over_the_limit_is_quarantined_whatever_the_validation(tmp_path: Path, validation: str) -> None:
    with running_edge(tmp_path, object_max_bytes=10_000, validation=validation) as edge:
        peer = RawPeer(edge.port, STORAGE)
        for number, size in ((1, 100), (2, 20_000)):
            assert peer.store(b"1.%d" % number, small_data_set(more=bytes(size))) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        (held,) = announced.manifest.quarantined
        assert (held.sop_instance_uid, held.reason) == (
            "1.2",
            "larger than the limit of 10000 bytes (AHI_INGEST_OBJECT_MAX_BYTES)",
        )
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.1"]


def test_an_association_of_nothing_but_faulty_objects_is_announced_without_a_part(tmp_path: Path) -> None:
    with running_edge(tmp_path) as edge:
        peer = RawPeer(edge.port, STORAGE)
        for _ in range(2):
            assert peer.store(b"1.9", small_data_set()[:-1]) == 0x0000
        peer.release()
        (announced,) = edge.announced()
        assert (announced.manifest.parts, len(announced.manifest.quarantined)) == ((), 1)
        assert announced.manifest.identical_repeats == 1


def test_in_an_unknown_transfer_syntax_nothing_is_checked(tmp_path: Path) -> None:
    with running_edge(tmp_path, validation="strict") as edge:
        peer = RawPeer(edge.port, {1: (CT, (b"1.2.3.4.5",))})
        assert peer.store(b"1.9", b"\xff" * 999) == 0x0000
        peer.release()
        assert [entry.sop_instance_uid for entry in edge.announced()[0].entries] == ["1.9"]
