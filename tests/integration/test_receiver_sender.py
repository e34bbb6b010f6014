"""The sender tells of every file what became of it, and sends its bytes as they are."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import LOOPBACK, free_port
from receiver.dicom import pdu
from receiver.dicom.items import UserInformation
from receiver.dicom.sender import SendResult, send
from receiver.part10 import head_bytes
from tests.integration.test_receiver_disk import FailingDisk
from tests.support.receiver import CT, EXPLICIT, Edge, running_edge, small_data_set


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    with running_edge(tmp_path) as running:
        yield running


def dicom_file(path: Path, *, sop_class: bytes = CT, syntax: bytes = EXPLICIT, data: bytes | None = None) -> Path:
    head = head_bytes(sop_class=sop_class, sop_instance=b"1.9", transfer_syntax=syntax, source_ae=b"T")
    path.write_bytes(head + (small_data_set(more=path.name.encode()) if data is None else data))
    return path


def sent(paths: list[Path], port: int) -> list[SendResult]:
    return list(send(paths, host=LOOPBACK, port=port, timeout_seconds=5))


@pytest.mark.parametrize("size", [0, 1, 2, 16000, 131066, 131067, 1_048_576, 3_000_001])
def test_a_data_set_of_any_size_arrives_as_it_is(edge: Edge, tmp_path: Path, size: int) -> None:
    data = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    path = dicom_file(tmp_path / "a.dcm", syntax=b"1.2.3.4", data=data[:size])
    assert sent([path], edge.port) == [SendResult(path, 0, "")]
    assert edge.data_set(edge.announced()[0].entries[0]) == data[:size]


def test_more_pairs_of_class_and_syntax_than_fit_go_over_several_associations(edge: Edge, tmp_path: Path) -> None:
    paths = [dicom_file(tmp_path / f"{number}.dcm", sop_class=b"1.2.3.%d" % number) for number in range(300)]
    assert all(result.status == 0 for result in sent(paths, edge.port))
    assert sorted(len(one.entries) for one in edge.announced(3)) == [44, 128, 128]


def test_files_that_cannot_be_sent_are_named_with_the_reason(edge: Edge, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no DICOM")
    missing, good = tmp_path / "missing", dicom_file(tmp_path / "good")
    query = dicom_file(tmp_path / "query", sop_class=b"1.2.840.10008.5.1.4.1.2.2.1")
    results = {result.path: result for result in sent([text, missing, query, good], edge.port)}
    assert results[text].reason.startswith("cannot be sent: no DICM prefix")
    assert results[missing].reason == "cannot be sent: No such file or directory"
    assert results[query].reason == "refused by the peer: abstract syntax (SOP class) not supported"
    assert (results[good].status, results[good].reason, results[good].stored) == (0, "", True)


def test_a_status_other_than_success_is_told(tmp_path: Path) -> None:
    disk = FailingDisk()
    with running_edge(tmp_path, files=disk) as edge:
        paths = [dicom_file(tmp_path / "a"), dicom_file(tmp_path / "b")]
        disk.failing, disk.error, disk.times = "rename", errno.ENOSPC, 2
        results = sent(paths, edge.port)
    assert results[0] == SendResult(paths[0], 0xA700, "answered with status 0xA700")
    assert not results[0].stored


def test_bytes_are_counted_as_they_leave(edge: Edge, tmp_path: Path) -> None:
    path = dicom_file(tmp_path / "a", syntax=b"1.2.3", data=bytes(2_500_000))
    counted: list[int] = []
    assert [result.status for result in send([path], host=LOOPBACK, port=edge.port, on_bytes=counted.append)] == [0]
    assert sum(counted) == 2_500_000
    assert len(counted) == 3


def test_a_peer_that_is_not_there_is_told_of_every_file(tmp_path: Path) -> None:
    paths = [dicom_file(tmp_path / "a"), dicom_file(tmp_path / "b")]
    assert [result.reason for result in sent(paths, free_port())] == ["not sent: Connection refused"] * 2


def test_a_rejected_association_is_told_with_its_reason(tmp_path: Path) -> None:
    with running_edge(tmp_path, max_associations=1) as edge, socket.create_connection((LOOPBACK, edge.port)) as other:
        other.sendall(pdu.associate_rq(called_ae=b"A", calling_ae=b"B", contexts=(), max_pdu_bytes=0))
        assert other.recv(1) == b"\2"
        (result,) = sent([dicom_file(tmp_path / "a")], edge.port)
    assert result.reason == "not sent: association rejected 2/3/2 (local limit exceeded)"


def test_after_a_lost_connection_the_other_files_go_over_a_new_one(tmp_path: Path) -> None:
    paths = [dicom_file(tmp_path / name) for name in ("a", "b", "c")]
    with socket.create_server((LOOPBACK, 0)) as server:
        thread = threading.Thread(target=serve_one_object_each, args=(server, 3))
        thread.start()
        results = sent(paths, server.getsockname()[1])
        thread.join(10)
    assert [result.status for result in results] == [0, None, 0]
    assert results[1].reason.startswith("the connection was lost before the answer")


def serve_one_object_each(server: socket.socket, objects: int) -> None:
    """A peer that answers one object of each association, and hangs up on the next."""
    seen = 0
    while seen < objects:
        sock, _ = server.accept()
        with sock, sock.makefile("rb") as stream:
            request = pdu.AssociateRq.parse(body_of(stream.read(6), stream))
            results = [pdu.ContextResult(context.context_id, 0, context.transfer_syntaxes[0]) for context in request.contexts]
            sock.sendall(
                pdu.associate_ac(request=request, results=results, user_information=UserInformation(max_pdu_bytes=16384))
            )
            for answered in (True, False):
                command = body_of(stream.read(6), stream)
                if len(command) <= 4:  # A-RELEASE-RQ
                    break
                body_of(stream.read(6), stream)
                seen += 1
                if not answered:
                    break
                elements = pdu.command_elements(command[6:])
                message_id = pdu.unsigned_short(elements, pdu.MESSAGE_ID)
                sock.sendall(pdu.store_response(command[4], b"1.2", b"1.9", message_id, 0))
                if seen == objects:
                    break


def body_of(head: bytes, stream: object) -> bytes:
    (length,) = struct.unpack_from(">I", head, 2)
    return stream.read(length)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("title", ["", " ", "seventeen letters"])
def test_an_impossible_ae_title_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="an AE title has 1 to 16 characters"):
        list(send([], host=LOOPBACK, port=1, called_ae=title))
