"""Many connections at once, and peers that hold them: nobody is blocked, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import Ending
from receiver.dicom import pdu
from receiver.dicom.sender import send
from tests.support.certificates import make_ca, make_certificate
from tests.support.dicom import ct_series
from tests.support.receiver import CT, EXPLICIT, Edge, RawPeer, running_edge, small_data_set, store_pdus, until

STORAGE = {1: (CT, (EXPLICIT,))}


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    ca = make_ca(tmp_path, "ca")
    server = make_certificate(tmp_path, "server", ca)
    with running_edge(tmp_path, tls_port=0, tls_certificate=server.certificate, tls_key=server.key) as running:
        yield running


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count


@pytest.mark.parametrize("port", ["port", "tls_port"])
def test_ten_thousand_bare_connects_leave_nothing(edge: Edge, port: str) -> None:
    address = ("127.0.0.1", getattr(edge.receiver, port))
    first = RawPeer(edge.port, STORAGE)  # after which all is open that stays open
    assert first.store(b"1.8", small_data_set()) == 0
    first.release()
    edge.announced()
    until(lambda: edge.receiver.connections == 0, "the first is closed")
    files, threads = open_files(), threading.active_count()
    for _ in range(10_000):
        socket.create_connection(address, timeout=30).close()
    until(lambda: edge.receiver.connections == 0, "all closed", 30)
    until(lambda: threading.active_count() <= threads, "all threads ended")
    until(lambda: open_files() <= files, "all files closed")
    peer = RawPeer(edge.port, STORAGE)
    assert peer.store(b"1.9", small_data_set()) == 0
    peer.release()


@pytest.mark.parametrize("port", ["port", "tls_port"])
def test_connections_that_stay_open_make_way_for_new_ones(edge: Edge, port: str) -> None:
    address = ("127.0.0.1", getattr(edge.receiver, port))
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address, timeout=30))
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        until(lambda: edge.receiver.connections <= 257, "the oldest were closed")


@pytest.mark.parametrize("established", [False, True])
def test_a_hundred_silent_connections_hold_up_none_of_sixteen_senders(edge: Edge, tmp_path: Path, established: bool) -> None:
    paths = [ct_series(tmp_path / f"ct-{n}", 5) for n in range(16)]
    with contextlib.ExitStack() as stack:
        for number in range(100):
            if established:
                stack.enter_context(RawPeer(edge.port, STORAGE).sock)
            else:
                port = edge.port if number % 2 else edge.receiver.tls_port
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        stored: list[bool] = []
        threads = [
            threading.Thread(
                target=lambda own=own: stored.extend(
                    result.stored for result in send(own, host="127.0.0.1", port=edge.port, timeout_seconds=20)
                )
            )
            for own in paths
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stored == [True] * 80
        edge.announced(16)


@pytest.mark.parametrize("end", ["idle", "release", "malformed"])
def test_a_connection_that_the_peer_does_not_close_is_closed(tmp_path: Path, end: str) -> None:
    with running_edge(tmp_path, idle_timeout_seconds=0.3, artim_timeout_seconds=0.3) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.sock.sendall({"idle": b"", "release": pdu.RELEASE_RQ_PDU, "malformed": b"\x09\0\0\0\0\4xxxx"}[end])
        assert peer.receive()[0] == (pdu.RELEASE_RP if end == "release" else pdu.ABORT)
        until(lambda: edge.receiver.connections == 0, "closed")
        peer.sock.close()


def test_a_peer_that_reads_no_answers_is_closed(tmp_path: Path) -> None:
    with running_edge(tmp_path, idle_timeout_seconds=0.5, artim_timeout_seconds=0.3) as edge:
        peer = RawPeer(edge.port, STORAGE)
        unserved = pdu.command_pdu(
            1, ((pdu.COMMAND_FIELD, 0x0020), (pdu.MESSAGE_ID, 7), (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET))
        )
        peer.sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            while True:
                peer.sock.sendall(unserved * 1000)
        until(lambda: edge.receiver.connections == 0, "closed", 10)
        peer.sock.close()


def test_a_peer_that_sends_an_object_too_slowly_is_aborted(tmp_path: Path) -> None:
    with running_edge(tmp_path, slowest_bytes_per_second=100_000, slowest_seconds=0.2) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.sock.settimeout(0.02)
        answer = b""
        for byte in store_pdus(b"1.10", small_data_set(more=b"x" * 10_000), message_id=2):
            with contextlib.suppress(TimeoutError):
                answer = peer.sock.recv(10)
            if answer:
                break
            peer.sock.sendall(bytes((byte,)))
        assert answer[:1] == bytes((pdu.ABORT,))
        peer.sock.close()
        (announced,) = edge.announced()
        assert (announced.manifest.ending, len(announced.entries)) == (Ending.ABORTED, 1)


@pytest.mark.parametrize("port", ["port", "tls_port"])
def test_a_peer_that_goes_silent_within_an_object_is_slow_however_long_it_may_be_idle(
    tmp_path: Path, port: str, caplog: pytest.LogCaptureFixture
) -> None:
    ca = make_ca(tmp_path, "ca")
    server = make_certificate(tmp_path, "server", ca)
    tls = ssl.create_default_context(cafile=ca.certificate) if port == "tls_port" else None
    settings: dict[str, Any] = {"tls_port": 0, "tls_certificate": server.certificate, "tls_key": server.key}
    with running_edge(tmp_path, slowest_seconds=0.2, idle_timeout_seconds=600, **settings) as edge:
        peer = RawPeer(getattr(edge.receiver, port), STORAGE, tls=tls)
        sent = store_pdus(b"1.10", small_data_set(more=b"x" * 10_000))
        peer.sock.sendall(sent[: len(sent) // 2])
        peer.sock.settimeout(20)
        assert peer.receive()[0] == pdu.ABORT
        peer.sock.close()
        assert "the peer sends too slowly" in caplog.text


def test_a_peer_that_pauses_between_objects_is_not_slow(tmp_path: Path) -> None:
    with running_edge(tmp_path, slowest_bytes_per_second=10**9, slowest_seconds=0.1) as edge:
        peer = RawPeer(edge.port, STORAGE)
        for number in range(3):
            assert peer.store(b"1.%d" % number, small_data_set(), message_id=number + 1) == 0
            threading.Event().wait(0.15)
        peer.release()
        assert len(edge.announced()[0].entries) == 3
