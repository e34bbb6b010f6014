"""What peers may do to the receiver over DICOM, and what comes of it. The cloud is in memory, everything else is real."""

from __future__ import annotations

import hashlib
import io
import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE

from bench.programs import dcmtk
from contract import Ending
from contract.uids import safe_name
from receiver.dicom import pdu
from receiver.dicom.admission import Admission
from receiver.dicom.sender import send
from receiver.index import index_bytes
from receiver.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, read_head
from tests.support.dicom import BUNDLED, ct_series
from tests.support.receiver import (
    CT,
    EXPLICIT,
    IMPLICIT,
    Edge,
    RawPeer,
    association_folders,
    running_edge,
    small_data_set,
    store_pdus,
    until,
)

STORAGE = {1: (CT, (EXPLICIT,))}
VERIFICATION = b"1.2.840.10008.1.1"


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    with running_edge(tmp_path) as running:
        yield running


def sent_data_set(path: Path) -> bytes:
    content = path.read_bytes()
    return content[read_head(io.BytesIO(content)).data_set_offset :]


# What arrives is what was sent


def test_every_bundled_file_arrives_with_the_data_set_bytes_of_the_wire(edge: Edge) -> None:
    files = sorted(path for path in BUNDLED.rglob("*") if path.is_file())
    results = list(send(files, host="127.0.0.1", port=edge.port, calling_ae="SENDER"))
    stored = [result.path for result in results if result.stored]
    assert len(stored) > 100
    (announced,) = edge.announced()
    wanted = {hashlib.sha256(sent_data_set(path)).hexdigest() for path in stored}
    quarantined = {hashlib.sha256(edge.data_set(one)).hexdigest() for one in announced.manifest.quarantined}
    assert {entry.digest for entry in announced.entries} | quarantined == wanted
    for entry in announced.entries:
        assert hashlib.sha256(edge.data_set(entry)).hexdigest() == entry.digest
    kept = len(announced.entries) + len(announced.manifest.quarantined)
    assert announced.manifest.identical_repeats == len(stored) - kept
    assert (announced.manifest.calling_ae, announced.manifest.ending) == ("SENDER", Ending.RELEASED)
    for result in results:
        if not result.stored:
            assert result.reason.startswith(("refused by the peer: abstract syntax", "cannot be sent: ")), result


def test_files_that_share_a_uid_are_all_kept_the_later_in_a_later_part(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    for more in (b"first", b"second", b"first", b"third"):
        assert peer.store(b"1.9", small_data_set(more=more)) == 0
    peer.release()
    (announced,) = edge.announced()
    names = [entry.key.rsplit("/", 1)[1] for entry in announced.entries]
    digests = [entry.digest for entry in announced.entries]
    assert names == ["1.9.dcm", f"1.9~{digests[1][:12]}.dcm", f"1.9~{digests[2][:12]}.dcm"]
    assert [entry.key.split("/")[3] for entry in announced.entries] == ["1", "2", "3"]
    assert [entry.supersedes for entry in announced.entries] == [False, True, True]
    assert announced.manifest.identical_repeats == 1


def test_a_part_has_no_more_objects_than_the_setting(tmp_path: Path) -> None:
    with running_edge(tmp_path, part_max_objects=2) as edge:
        list(send(ct_series(tmp_path / "ct", 5), host="127.0.0.1", port=edge.port))
        (announced,) = edge.announced()
    assert [part.objects for part in announced.manifest.parts] == [2, 2, 1]


def test_dcmsend_sends_a_whole_folder_in_one_association(edge: Edge) -> None:
    command = [dcmtk("dcmsend"), "--no-halt", "--decompress-never", "--no-uid-checks", "+sd", "+r", "127.0.0.1", str(edge.port)]
    done = subprocess.run([*command, str(BUNDLED)], capture_output=True, check=False, text=True, env={"TCP_NODELAY": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    (announced,) = edge.announced()
    assert len(announced.entries) + announced.manifest.identical_repeats > 140
    for entry in announced.entries:
        assert index_bytes(edge.cloud.objects[entry.key]).digest == entry.digest


def test_storescu_and_echoscu_are_served(edge: Edge, tmp_path: Path) -> None:
    paths = [str(path) for path in ct_series(tmp_path / "ct", 3)]
    address = ["127.0.0.1", str(edge.port)]
    subprocess.run([dcmtk("echoscu"), *address], check=True, capture_output=True, env={"TCP_NODELAY": "1"})
    subprocess.run(
        [dcmtk("storescu"), "-aet", "STORESCU", *address, *paths], check=True, capture_output=True, env={"TCP_NODELAY": "1"}
    )
    (announced,) = edge.announced()
    assert (announced.manifest.calling_ae, len(announced.entries)) == ("STORESCU", 3)


def test_pynetdicoms_own_programs_are_served(edge: Edge, tmp_path: Path) -> None:
    ct_series(tmp_path / "ct", 3)
    address = ["127.0.0.1", str(edge.port)]
    for program in (["echoscu", *address], ["storescu", *address, str(tmp_path / "ct"), "--recurse", "-aet", "STORESCU"]):
        subprocess.run([sys.executable, "-m", "pynetdicom", *program], check=True, capture_output=True)
    (announced,) = edge.announced()
    assert (announced.manifest.calling_ae, len(announced.entries)) == ("STORESCU", 3)


def test_a_pynetdicom_client_may_verify_between_two_stores(edge: Edge, tmp_path: Path) -> None:
    first, second = (pydicom.dcmread(path) for path in ct_series(tmp_path / "ct", 2))
    ae = AE("PYNETDICOM")
    ae.add_requested_context(VERIFICATION.decode())
    ae.add_requested_context(CT.decode(), EXPLICIT.decode())
    association = ae.associate("127.0.0.1", edge.port)
    assert association.send_c_store(first).Status == 0
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(second).Status == 0
    association.release()
    (announced,) = edge.announced()
    assert len(announced.entries) == 2


def test_the_file_has_a_complete_head(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE, calling_ae=b"MODALITY")
    peer.store(b"1.9.8", small_data_set())
    peer.release()
    (announced,) = edge.announced()
    meta = pydicom.dcmread(io.BytesIO(edge.cloud.objects[announced.entries[0].key])).file_meta
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (CT.decode(), "1.9.8")
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (EXPLICIT.decode(), "MODALITY")
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME


# Any class, any syntax, any UID


@pytest.mark.parametrize(
    ("abstract_syntax", "transfer_syntax"),
    [
        (CT, b"1.2.3.4.5.6"),
        (b"1.3.46.670589.11.0.0.12.1", b"1.2.840.113619.5.2"),
        (b"1.2.840.10008.5.1.4.1.1.999", b"1.2.840.10008.1.2.9999"),
        (b"9." + b"1" * 300, b"8." + b"2" * 300),
        (b"../../etc/passwd", b"\xff\xfe\x00x"),
        (b"1.02.3", b"1.2.3."),
    ],
)
def test_unknown_and_private_classes_and_syntaxes_are_stored(
    edge: Edge, abstract_syntax: bytes, transfer_syntax: bytes
) -> None:
    peer = RawPeer(edge.port, {1: (abstract_syntax, (transfer_syntax, IMPLICIT))})
    assert peer.results[1] == pdu.ContextResult(1, 0, transfer_syntax)
    data = bytes(range(256)) * 9
    assert peer.store(b"1.9", data, sop_class=abstract_syntax) == 0
    peer.release()
    (announced,) = edge.announced()
    (entry,) = announced.entries
    assert edge.data_set(entry) == data
    assert entry.sop_class_uid == abstract_syntax.decode("latin-1")
    assert entry.transfer_syntax_uid == transfer_syntax.decode("latin-1")
    assert (entry.study_instance_uid, entry.key.split("/")[4:6]) == ("", ["_", "_"])


@pytest.mark.parametrize("uid", [b"../../../etc/passwd", b"a/b", b"1\0.2", b"9" * 300, b"", b"..", b"\xe9.1"])
def test_no_uid_leaves_its_folder(edge: Edge, uid: bytes) -> None:
    peer = RawPeer(edge.port, STORAGE)
    assert peer.store(uid, small_data_set(study=uid, series=uid)) == 0
    peer.release()
    (announced,) = edge.announced()
    (entry,) = announced.entries
    assert entry.key.split("/")[4:] == [safe_name(uid.decode("latin-1"))] * 2 + [f"{safe_name(uid.decode('latin-1'))}.dcm"]
    assert entry.sop_instance_uid == uid.decode("latin-1")


def test_a_uid_that_would_fill_the_memory_is_refused_and_the_association_goes_on(edge: Edge) -> None:
    private = b"1." + b"2" * 510
    peer = RawPeer(edge.port, {1: (private, (EXPLICIT,))})
    assert peer.store(private + b"3", small_data_set(), sop_class=private) == 0xC000
    assert peer.store(b"1.1", small_data_set(), sop_class=private + b"3") == 0xC000
    assert peer.store(private, small_data_set(), sop_class=private) == 0
    peer.release()
    assert [entry.sop_instance_uid for entry in edge.announced()[0].entries] == [private.decode()]


def test_what_is_known_and_no_storage_is_refused(edge: Edge) -> None:
    peer = RawPeer(
        edge.port,
        {
            1: (VERIFICATION, (IMPLICIT,)),
            3: (b"1.2.840.10008.5.1.4.1.2.2.1", (IMPLICIT,)),  # Study Root Query/Retrieve - FIND
            5: (b"1.2.840.10008.3.1.2.3.3", (IMPLICIT,)),  # Modality Performed Procedure Step
            7: (b"1.2.840.10008.5.1.4.31", (IMPLICIT,)),  # Modality Worklist - FIND
            9: (b"1.2.840.10008.5.1.4.38.1", (IMPLICIT,)),  # Hanging Protocol Storage
            11: (b"1.2.840.10008.5.1.4.1.1.6", (IMPLICIT,)),  # Ultrasound Image Storage (Retired)
            13: (CT, ()),
        },
    )
    assert {number: result.result for number, result in peer.results.items()} == {1: 0, 3: 3, 5: 3, 7: 3, 9: 0, 11: 0, 13: 4}
    peer.release()


# However the bytes are split


def test_a_message_may_come_in_single_bytes(edge: Edge) -> None:
    data = small_data_set()
    peer = RawPeer(edge.port, STORAGE)
    for byte in store_pdus(b"1.9", data, fragment=20):
        peer.sock.sendall(bytes((byte,)))
    assert peer.status() == 0
    peer.release()
    assert edge.data_set(edge.announced()[0].entries[0]) == data


def test_command_and_data_may_be_in_many_fragments_and_many_fragments_in_one_pdu(edge: Edge) -> None:
    command = pdu.store_request(1, CT, b"1.9", 1)[12:]
    data = small_data_set(more=b"y" * 100)
    fragments = [(pdu.COMMAND, command[:7]), (pdu.COMMAND, b""), (pdu.COMMAND | pdu.LAST, command[7:])]
    fragments += [(0, data[:1]), (0, b""), (0, data[1:50]), (0, data[50:]), (pdu.LAST, b"")]
    body = b"".join(struct.pack(">IBB", len(piece) + 2, 1, control) + piece for control, piece in fragments)
    peer = RawPeer(edge.port, STORAGE)
    peer.sock.sendall(struct.pack(">BxI", pdu.P_DATA_TF, len(body)) + body)
    assert peer.status() == 0
    peer.release()
    assert edge.data_set(edge.announced()[0].entries[0]) == data


def test_objects_may_be_sent_before_the_answer_to_the_one_before(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.sock.sendall(b"".join(store_pdus(b"1.%d" % n, small_data_set(more=b"%d" % n), message_id=n) for n in range(1, 30)))
    assert [peer.status() for _ in range(29)] == [0] * 29
    peer.release()
    assert [entry.sop_instance_uid for entry in edge.announced()[0].entries] == [f"1.{n}" for n in range(1, 30)]


def test_another_command_is_answered_unrecognized_and_the_association_goes_on(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE | {3: (VERIFICATION, (IMPLICIT,))})
    find = ((pdu.COMMAND_FIELD, 0x0020), (pdu.MESSAGE_ID, 7), (pdu.COMMAND_DATA_SET_TYPE, 1))
    peer.sock.sendall(pdu.command_pdu(1, find) + pdu.p_data_header(2, 1, pdu.LAST) + b"xx")
    assert peer.status() == 0x0211
    echo = (
        (pdu.AFFECTED_SOP_CLASS_UID, VERIFICATION),
        (pdu.COMMAND_FIELD, pdu.C_ECHO_RQ),
        (pdu.MESSAGE_ID, 8),
        (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
    )
    peer.sock.sendall(pdu.command_pdu(3, echo))
    assert peer.status() == 0
    assert peer.store(b"1.9", small_data_set()) == 0
    assert peer.store(b"1.9", b"", context_id=3) == 0x0122
    peer.sock.sendall(pdu.command_pdu(1, ((pdu.COMMAND_FIELD, 1), (pdu.MESSAGE_ID, 9), (pdu.COMMAND_DATA_SET_TYPE, 0x0101))))
    assert peer.status() == 0xC000
    peer.release()
    assert len(edge.announced()[0].entries) == 1


# How an association ends


def begun_object(peer: RawPeer) -> None:
    """A second object, of which only the beginning is sent."""
    peer.sock.sendall(store_pdus(b"1.10", small_data_set(more=b"z" * 4000), message_id=2)[:-500])


def test_a_peer_that_aborts_within_an_object_keeps_the_objects_before(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    begun = pdu.store_request(1, CT, b"1.10", 2) + pdu.p_data_header(4, 1, 0) + b"data"
    peer.sock.sendall(begun)
    peer.abort()
    (announced,) = edge.announced()
    assert (announced.manifest.ending, [entry.sop_instance_uid for entry in announced.entries]) == (Ending.ABORTED, ["1.9"])


def test_a_peer_that_is_lost_within_an_object_keeps_the_objects_before(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    begun_object(peer)
    peer.sock.close()
    (announced,) = edge.announced()
    assert (announced.manifest.ending, len(announced.entries)) == (Ending.LOST, 1)


def test_a_peer_whose_connection_is_reset_is_lost(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()
    assert edge.announced()[0].manifest.ending == Ending.LOST


@pytest.mark.parametrize("within_object", [False, True])
def test_a_silent_peer_is_aborted_as_idle(tmp_path: Path, within_object: bool) -> None:
    with running_edge(tmp_path, idle_timeout_seconds=0.3) as edge:
        peer = RawPeer(edge.port, STORAGE)
        peer.store(b"1.9", small_data_set())
        if within_object:
            begun_object(peer)
        assert peer.receive()[0] == pdu.ABORT
        peer.sock.close()
        (announced,) = edge.announced()
        assert (announced.manifest.ending, len(announced.entries)) == (Ending.IDLE, 1)


def test_stopping_lets_associations_end_then_aborts_them(tmp_path: Path) -> None:
    with running_edge(tmp_path, drain_timeout_seconds=0.5) as edge:
        peer, other = RawPeer(edge.port, STORAGE), RawPeer(edge.port, STORAGE)
        for one in (peer, other):
            one.store(b"1.9", small_data_set())
        begun_object(other)
        stopping = threading.Thread(target=edge.receiver.stop)
        stopping.start()
        until(lambda: rejected(edge.port) == bytes((2, 3, 1)), "a new association is rejected")
        assert peer.store(b"1.11", small_data_set(), message_id=2) == 0
        peer.release()
        assert other.receive()[0] == pdu.ABORT
        other.sock.close()
        stopping.join(10)
    with running_edge(tmp_path, edge.cloud) as again:  # what the deadline left
        until(lambda: len(again.cloud.messages) == 2, "both announced")


def test_an_association_that_is_being_admitted_when_the_receiver_stops_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, asked, may_go_on = Admission.admit, threading.Event(), threading.Event()

    def admit_late(*arguments: Any) -> Any:
        asked.set()
        may_go_on.wait(5)
        return admit(*arguments)

    monkeypatch.setattr(Admission, "admit", admit_late)
    with running_edge(tmp_path) as edge, ThreadPoolExecutor(2) as pool:
        accepted = pool.submit(RawPeer, edge.port, STORAGE)
        assert asked.wait(5)
        stopped = pool.submit(edge.receiver.stop)
        time.sleep(0.3)  # in which it would have ended what had no association yet
        may_go_on.set()
        peer = accepted.result()
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        stopped.result()
        assert len(edge.announced()) == 1


def rejected(port: int) -> bytes:
    """Result, source and reason of a rejection; empty for an association that was accepted."""
    peer = RawPeer(port, STORAGE)
    if peer.answer[0] == pdu.ASSOCIATE_AC:
        peer.release()
        return b""
    peer.sock.close()
    return peer.answer[1][1:4]


def test_an_association_without_objects_sends_nothing_and_leaves_nothing(edge: Edge) -> None:
    for end in ("release", "abort"):
        getattr(RawPeer(edge.port, {1: (VERIFICATION, (IMPLICIT,))}), end)()
    until(lambda: edge.receiver.uploads.open_associations == 0, "associations closed")
    assert edge.cloud.messages == [] == list(edge.cloud.objects)
    assert association_folders(edge.settings.spool) == []


def test_nothing_is_left_of_an_announced_association(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    assert len(association_folders(edge.settings.spool)) == 1
    peer.release()
    edge.announced()
    assert association_folders(edge.settings.spool) == []


def test_objects_are_in_the_cloud_before_the_association_ends(edge: Edge) -> None:
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    until(lambda: len(edge.cloud.objects) == 1, "the object")
    assert edge.cloud.messages == []
    peer.release()
    edge.announced()


# What breaks the protocol ends its own association only


def pdv(control: int, data: bytes, context_id: int = 1) -> bytes:
    return pdu.p_data_header(len(data), context_id, control) + data


COMMAND = pdu.store_request(1, CT, b"1.10", 2)
MALFORMED = {
    "unknown PDU type": b"\x09\0\0\0\0\4xxxx",
    "PDU of 4 GiB": b"\x04\0\xff\xff\xff\xff",
    "request of 4 GiB": b"\x01\0\xff\xff\xff\xff",
    "empty P-DATA": b"\x04\0\0\0\0\0",
    "PDV beyond its PDU": struct.pack(">BxIIBB", 4, 6, 1000, 1, 3),
    "PDV of length 0": struct.pack(">BxIIBB", 4, 6, 0, 1, 3),
    "PDV of length 1": struct.pack(">BxIIBB", 4, 6, 1, 1, 3),
    "rest too short for a PDV": struct.pack(">BxIIBB", 4, 9, 2, 1, 0) + b"xxx",
    "data without a command": pdv(pdu.LAST, b"data"),
    "empty data without a command": pdv(pdu.LAST, b""),
    "empty command": pdv(pdu.COMMAND | pdu.LAST, b""),
    "command of noise": pdv(pdu.COMMAND | pdu.LAST, b"\xff" * 50),
    "command of another group": pdv(pdu.COMMAND | pdu.LAST, struct.pack("<HHI", 8, 0, 0)),
    "command without message id": pdu.command_pdu(1, ((pdu.COMMAND_FIELD, 1), (pdu.COMMAND_DATA_SET_TYPE, 1))),
    "response to nothing": pdu.store_response(1, CT, b"1.10", 2, 0),
    "command in a context not accepted": pdu.store_request(77, CT, b"1.10", 2),
    "command within an object": COMMAND + pdv(0, b"data") + COMMAND,
    "data in another context": COMMAND + pdv(0, b"data", 3),
    "release within an object": COMMAND + pdv(0, b"data") + pdu.RELEASE_RQ_PDU,
    "endless command": pdv(pdu.COMMAND, b"x" * 40000) * 2,
    "second request": pdu.associate_rq(called_ae=b"A", calling_ae=b"B", contexts=(), max_pdu_bytes=0),
    "echo that cannot be decoded": pdu.command_pdu(
        3, ((pdu.COMMAND_FIELD, pdu.C_ECHO_RQ), (pdu.COMMAND_DATA_SET_TYPE, 0x0101))
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_input_ends_that_association_with_one_log_line(
    edge: Edge, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bystander = RawPeer(edge.port, STORAGE)
    peer = RawPeer(edge.port, STORAGE | {3: (VERIFICATION, (IMPLICIT,))})
    assert peer.store(b"1.9", small_data_set()) == 0
    peer.sock.sendall(MALFORMED[name])
    assert peer.receive()[0] == pdu.ABORT
    peer.sock.close()
    (announced,) = edge.announced()
    assert (announced.manifest.ending, len(announced.entries)) == (Ending.ABORTED, 1)
    assert bystander.store(b"1.9", small_data_set()) == 0
    bystander.release()
    edge.announced()
    assert Counter(record.levelname for record in caplog.records) == Counter({"WARNING": 1}), caplog.text


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x01\0\xff\xff\xff\xff", b"\x01\0\0\0\0\4xxxx", b"\x04\0\0\0\0\0"]
)
def test_a_connection_that_is_no_association_is_closed(tmp_path: Path, first: bytes) -> None:
    with running_edge(tmp_path, artim_timeout_seconds=0.3) as edge:
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as sock:
            sock.sendall(first)
            while sock.recv(1000):
                pass
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()


def test_more_associations_than_the_setting_are_rejected_until_one_ends(tmp_path: Path) -> None:
    with running_edge(tmp_path, max_associations=2) as edge:
        first, second, third = (RawPeer(edge.port, STORAGE) for _ in range(3))
        assert (third.answer[0], third.answer[1][1:4]) == (pdu.ASSOCIATE_RJ, bytes((2, 3, 2)))
        third.sock.close()
        first.release()

        def accepted() -> bool:
            peer = RawPeer(edge.port, STORAGE)
            peer.sock.close()
            return peer.answer[0] == pdu.ASSOCIATE_AC

        until(accepted, "a place is free again")
        second.release()


def test_many_associations_at_once_each_get_their_own_manifest(edge: Edge, tmp_path: Path) -> None:
    series = [ct_series(tmp_path / str(n), 10, patient_id=f"P-{n}") for n in range(8)]
    threads = [
        threading.Thread(target=lambda paths=paths: list(send(paths, host="127.0.0.1", port=edge.port))) for paths in series
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    announced = edge.announced(8)
    assert [len(one.entries) for one in announced] == [10] * 8
    assert sorted(one.manifest.sequence for one in announced) == list(range(1, 9))
    assert all(len({entry.study_instance_uid for entry in one.entries}) == 1 for one in announced)
