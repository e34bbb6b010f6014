"""Logs are JSON lines that name the association and no patient, whatever a peer sends and however it fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

from local.aws import Aws
from receiver.dicom import pdu
from receiver.dicom.sender import send
from tests.support.dicom import ct_series
from tests.support.processes import receiver_pid
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, element, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
ID, NAME, BIRTH_DATE = "ID-7731-ZQ", "Zweistein^Albertina", "18790314"
SECRETS = (ID, NAME, "Zweistein", "Albertina", BIRTH_DATE, "Test^Case", "19700101")
PATIENT = (
    element(0x0010, 0x0010, b"PN", NAME.encode())
    + element(0x0010, 0x0020, b"LO", ID.encode())
    + element(0x0010, 0x0030, b"DA", BIRTH_DATE.encode())
)


def send_everything(port: int, folder: Path) -> None:
    """Objects that are right, that cannot be read, that break off, and bytes that are no DICOM, all about the patient."""
    assert all(result.status == 0 for result in send(ct_series(folder, 3, patient_id=ID), host="127.0.0.1", port=port))
    peer = RawPeer(port, STORAGE)
    assert peer.store(b"1.1", PATIENT + small_data_set()) == 0
    peer.store(b"1.2", PATIENT + b"\x10\x00\x10\x00PN\xff\xff" + NAME.encode(), message_id=2)  # a length beyond its end
    peer.store(NAME.encode(), PATIENT, message_id=3)
    peer.sock.sendall(pdu.store_request(1, CT, b"1.4", 4) + pdu.p_data_header(len(PATIENT), 1, 0) + PATIENT)
    peer.abort()
    for nonsense in (
        pdu.p_data_header(len(PATIENT), 1, pdu.COMMAND | pdu.LAST) + PATIENT,
        pdu.p_data_header(len(PATIENT), 9, 0) + PATIENT,
        b"\x04\0\0\0\0\x04" + NAME.encode(),
        b"\x09" + NAME.encode(),
    ):
        broken = RawPeer(port, STORAGE)
        assert broken.store(b"1.5", PATIENT + small_data_set()) == 0
        broken.sock.sendall(nonsense)
        broken.receive()
        broken.sock.close()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"\x01\0\0\0\0\x20" + NAME.encode() * 2)


def test_no_line_of_any_log_and_nothing_else_for_operators_names_a_patient(aws: Aws, bucket: str, tmp_path: Path) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", log_level="DEBUG", drain_timeout_seconds=1)
    with edge:
        send_everything(edge.port, tmp_path / "ct")
        announced = edge.announced(6)
        left = RawPeer(edge.port, STORAGE)
        left.store(b"1.6", PATIENT + small_data_set())
        shown = [edge.log_path.read_text()]
        for path in ("/metrics", "/readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{edge.health_port}{path}", timeout=5) as answer:
                shown.append(answer.read().decode())
        os.kill(receiver_pid(edge), signal.SIGKILL)
        left.sock.close()
    with edge:
        edge.announced(1)
        until(lambda: "association recovered" in edge.log_path.read_text(), "the recovery is logged")
    lines = edge.log_path.read_text().splitlines()
    shown += [edge.content("status/edge-1.json").decode(), *(repr(one.message) for one in announced), *lines]
    for text in shown:
        for secret in SECRETS:
            assert secret not in text
    events = [json.loads(line) for line in lines]
    assert sum(event.get("level") == "WARNING" for event in events) >= 4, "what went wrong is in the log"
    named = {event["association"] for event in events if event.get("association")}
    assert {one.message.association for one in announced} <= named
    for event in events:
        if event["event"] in {"association opened", "association ended", "association announced", "association recovered"}:
            assert event["association"]
