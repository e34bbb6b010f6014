"""The receiver over TLS: who gets in, with what, and that the port without TLS goes on as before."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pynetdicom import AE

from bench.programs import dcmtk
from contract import Ending
from receiver.dicom import pdu
from receiver.dicom.client import Address
from receiver.dicom.negotiation import IMPLICIT_VR, STORAGE_COMMITMENT, VERIFICATION
from receiver.dicom.tls import server_context
from receiver.settings import SettingsError
from tests.support.certificates import Certificate, make_ca, make_certificate
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.receiver import (
    CT,
    EXPLICIT,
    Edge,
    RawPeer,
    running_edge,
    small_data_set,
    store_pdus,
    until,
)

STORAGE = {1: (CT, (EXPLICIT,))}


@dataclass(frozen=True)
class Trust:
    ca: Certificate
    server: Certificate
    client: Certificate
    stranger: Certificate


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("certificates")
    ca, other_ca = make_ca(folder, "ca"), make_ca(folder, "other-ca")
    return Trust(
        ca,
        make_certificate(folder, "server", ca),
        make_certificate(folder, "client", ca),
        make_certificate(folder, "stranger", other_ca),
    )


@pytest.fixture
def edge(tmp_path: Path, trust: Trust) -> Iterator[Edge]:
    with running_edge(tmp_path, tls_port=0, tls_certificate=trust.server.certificate, tls_key=trust.server.key) as running:
        yield running


@pytest.fixture
def strict_edge(tmp_path: Path, trust: Trust) -> Iterator[Edge]:
    """TLS alone, and clients must have a certificate."""
    server = trust.server
    with running_edge(
        tmp_path,
        port=-1,
        tls_port=0,
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=trust.ca.certificate,
    ) as running:
        yield running


def client_context(trust: Trust, own: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trust.ca.certificate))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def secured(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="127.0.0.1")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_objects_arrive_over_either_version(edge: Edge, trust: Trust, version: ssl.TLSVersion) -> None:
    context = client_context(trust)
    context.minimum_version = context.maximum_version = version
    data = small_data_set(more=b"x" * 60_000)
    peer = RawPeer(edge.receiver.tls_port, STORAGE, tls=context)
    assert [peer.store(b"1.%d" % n, data, message_id=n) for n in (1, 2, 3)] == [0, 0, 0]
    peer.release()
    plain = RawPeer(edge.port, STORAGE)
    assert plain.store(b"1.9", data) == 0
    plain.release()
    assert sorted(len(one.entries) for one in edge.announced(2)) == [1, 3]


def test_private_classes_and_syntaxes_are_stored_over_tls(edge: Edge, trust: Trust) -> None:
    private = (b"1.3.46.670589.11.0.0.12.1", (b"1.2.840.113619.5.2",))
    peer = RawPeer(edge.receiver.tls_port, {1: private}, tls=client_context(trust))
    data = bytes(range(256)) * 300
    assert peer.store(b"1.9", data, sop_class=private[0]) == 0
    peer.release()
    (announced,) = edge.announced()
    (entry,) = announced.entries
    assert (edge.data_set(entry), entry.transfer_syntax_uid.encode()) == (data, private[1][0])


def test_older_versions_and_weak_ciphers_are_refused(edge: Edge, trust: Trust, caplog: pytest.LogCaptureFixture) -> None:
    context = client_context(trust)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256:AES256-GCM-SHA384")  # no forward secrecy
    with pytest.raises(ssl.SSLError):
        secured(edge.receiver.tls_port, context)
    until(lambda: edge.receiver.connections == 0, "closed")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["TLS handshake failed"]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", pdu.RELEASE_RQ_PDU])
def test_who_does_not_speak_tls_is_closed(edge: Edge, first: bytes) -> None:
    address = ("127.0.0.1", edge.receiver.tls_port)
    with socket.create_connection(address, timeout=10) as sock, contextlib.suppress(OSError):  # it may be closed already
        sock.sendall(first)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
    until(lambda: edge.receiver.connections == 0, "closed")


def test_a_client_certificate_is_asked_for_where_the_setting_says_so(strict_edge: Edge, trust: Trust) -> None:
    port = strict_edge.receiver.tls_port
    peer = RawPeer(port, STORAGE, tls=client_context(trust, trust.client))
    assert peer.store(b"1.9", small_data_set()) == 0
    peer.release()
    for own in (None, trust.stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)), secured(port, client_context(trust, own)) as refused:
            refused.recv(1)  # TLS 1.3 tells after the handshake
    until(lambda: strict_edge.receiver.connections == 0, "closed")
    assert strict_edge.port == -1


def test_storescu_and_echoscu_are_served_over_tls(strict_edge: Edge, trust: Trust, tmp_path: Path) -> None:
    paths = [str(path) for path in ct_series(tmp_path / "ct", 3)]
    tls = ["+tls", str(trust.client.key), str(trust.client.certificate), "+cf", str(trust.ca.certificate)]
    address = ["127.0.0.1", str(strict_edge.receiver.tls_port)]
    for command in ([dcmtk("echoscu"), *tls, *address], [dcmtk("storescu"), "+py", *tls, *address, *paths]):
        subprocess.run(command, check=True, capture_output=True, env={"TCP_NODELAY": "1"})
    (announced,) = strict_edge.announced()
    assert len(announced.entries) == 3


def test_a_pynetdicom_client_is_served_over_tls(edge: Edge, trust: Trust, tmp_path: Path) -> None:
    ae = AE("PYNETDICOM")
    ae.add_requested_context(CT.decode(), EXPLICIT.decode())
    association = ae.associate("127.0.0.1", edge.receiver.tls_port, tls_args=(client_context(trust), "127.0.0.1"))
    assert association.is_established
    (path,) = ct_series(tmp_path / "ct", 1)
    assert association.send_c_store(pydicom.dcmread(path)).Status == 0
    association.release()
    assert len(edge.announced()[0].entries) == 1


def test_a_commitment_is_reported_over_tls_to_who_asks_for_our_certificate(tmp_path: Path, trust: Trust) -> None:
    requester, server = Requester(), trust.server
    (path,) = ct_series(tmp_path / "ct", 1)
    listening = server_context(trust.client.certificate, trust.client.key, trust.ca.certificate)
    files: dict[str, Any] = {
        "tls_certificate": server.certificate,
        "tls_key": server.key,
        "tls_client_ca": trust.ca.certificate,
    }
    with requester.listening(listening) as port:
        peers = {"MODALITY": Address("127.0.0.1", port, tls=True)}
        with running_edge(tmp_path, commitment_peers=peers, **files) as edge:
            with requester.associated(edge.port) as association:
                slice_ = pydicom.dcmread(path)
                assert association.send_c_store(slice_).Status == 0
                assert ask(association, str(slice_.SOPInstanceUID))[0] == 0
            assert requester.told().committed == [str(slice_.SOPInstanceUID)]


def test_silence_in_the_handshake_ends_and_holds_up_nobody(tmp_path: Path, trust: Trust) -> None:
    server = trust.server
    with (
        running_edge(
            tmp_path, tls_port=0, tls_certificate=server.certificate, tls_key=server.key, artim_timeout_seconds=0.5
        ) as edge,
        socket.create_connection(("127.0.0.1", edge.receiver.tls_port), timeout=10) as silent,
    ):
        peer = RawPeer(edge.receiver.tls_port, STORAGE, tls=client_context(trust))
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        assert silent.recv(1) == b""


def test_stopping_aborts_an_association_over_tls(tmp_path: Path, trust: Trust) -> None:
    server = trust.server
    with running_edge(
        tmp_path, tls_port=0, tls_certificate=server.certificate, tls_key=server.key, drain_timeout_seconds=0
    ) as edge:
        peer = RawPeer(edge.receiver.tls_port, STORAGE, tls=client_context(trust))
        assert peer.store(b"1.9", small_data_set()) == 0
        edge.receiver.stop()
        assert peer.receive()[0] == pdu.ABORT
        peer.sock.close()


def test_files_that_are_no_certificate_stop_the_start_with_a_sentence(tmp_path: Path, trust: Trust) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("none")
    for changes in ({"tls_certificate": wrong}, {"tls_key": tmp_path / "missing.pem"}, {"tls_client_ca": wrong}):
        files: dict[str, Any] = {"tls_certificate": trust.server.certificate, "tls_key": trust.server.key} | changes
        with pytest.raises(SettingsError, match="readable PEM files"), running_edge(tmp_path, tls_port=0, **files):
            pass


@pytest.mark.parametrize("secured", [False, True])
def test_responses_that_a_peer_takes_late_come_whole(
    edge: Edge, trust: Trust, caplog: pytest.LogCaptureFixture, *, secured: bool
) -> None:
    """A peer that knows commitment, for whose results the receiver looks up every 0.2 s."""
    count, contexts = 12_000, {1: (VERIFICATION, (IMPLICIT_VR,)), 3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))}
    tls = client_context(trust) if secured else None
    peer = RawPeer(edge.receiver.tls_port if secured else edge.port, contexts, tls=tls)
    stores = store_pdus(b"1." + b"2" * 500, b"", sop_class=VERIFICATION) * count  # responses of 650 bytes, 8 MB in all
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(peer.sock.sendall, stores)
        time.sleep(1.5)
        assert len(caplog.records) < count, "there was room for all responses: this shows nothing"
        assert Counter(peer.status() for _ in range(count)) == {0x0122: count}
        sent.result()
    peer.release()


def test_a_peer_that_never_takes_its_responses_is_lost(tmp_path: Path) -> None:
    with running_edge(tmp_path, idle_timeout_seconds=0.5) as edge:
        peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,)), 3: (VERIFICATION, (IMPLICIT_VR,))})
        assert peer.store(b"1.9", small_data_set()) == 0
        with contextlib.suppress(ConnectionError):
            peer.sock.sendall(store_pdus(b"1." + b"2" * 500, b"", context_id=3, sop_class=VERIFICATION) * 20_000)
        assert edge.announced()[0].manifest.ending == Ending.LOST
        peer.sock.close()
