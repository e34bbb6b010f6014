"""A sender that is not the bottleneck: everything encoded beforehand, one object outstanding per association.

    python -m bench.sender PORT ASSOCIATIONS OBJECTS OBJECT_BYTES    prints one line of JSON

A process of its own, so that it shares nothing with a server but the machine. Loopback only.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from receiver.dicom import pdu

_CONTEXT_ID = 1
_TIMEOUT_SECONDS = 60


def data_set(sop_instance_uid: str, study_uid: str, size_bytes: int) -> bytes:
    """A CT-like data set of about `size_bytes`, Explicit VR Little Endian."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2) if vr != b"UI" else b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    head = b"".join(
        (
            element(0x0008, 0x0016, b"UI", CTImageStorage.encode()),
            element(0x0008, 0x0018, b"UI", sop_instance_uid.encode()),
            element(0x0008, 0x0060, b"CS", b"CT"),
            element(0x0010, 0x0010, b"PN", b"BENCH^MARK"),
            element(0x0010, 0x0020, b"LO", b"BENCH"),
            element(0x0020, 0x000D, b"UI", study_uid.encode()),
            element(0x0020, 0x000E, b"UI", f"{study_uid}.1".encode()),
        )
    )
    pixels = size_bytes // 2 * 2
    return head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, pixels) + bytes(pixels)


def encoded(sop_instance_uid: str, data: bytes, message_id: int, max_pdu_bytes: int) -> bytes:
    """The whole C-STORE-RQ as it goes over the wire."""
    out = [pdu.store_request(_CONTEXT_ID, CTImageStorage.encode(), sop_instance_uid.encode(), message_id)]
    step = max_pdu_bytes - pdu.PDV_HEADER_BYTES
    for at in range(0, len(data), step):
        fragment = data[at : at + step]
        out += [pdu.p_data_header(len(fragment), _CONTEXT_ID, pdu.LAST if at + step >= len(data) else 0), fragment]
    return b"".join(out)


def associate(port: int) -> tuple[socket.socket, int]:
    """An open association, and the largest PDU that the peer takes."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = pdu.ProposedContext(_CONTEXT_ID, CTImageStorage.encode(), (ExplicitVRLittleEndian.encode(),))
    sock.sendall(
        pdu.associate_rq(called_ae=b"ANY-SCP", calling_ae=b"BENCH", contexts=[context], max_pdu_bytes=pdu.MAX_PDU_BYTES)
    )
    kind, body = receive_pdu(sock)
    if kind != pdu.ASSOCIATE_AC:
        raise ConnectionRefusedError(f"PDU {kind} in place of A-ASSOCIATE-AC")
    return sock, min(pdu.parse_associate_ac(body)[1] or pdu.MAX_PDU_BYTES, pdu.MAX_PDU_BYTES)


def receive_pdu(sock: socket.socket) -> tuple[int, bytes]:
    head = _receive(sock, pdu.HEADER_BYTES)
    return head[0], _receive(sock, int.from_bytes(head[2:], "big"))


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError("the peer closed the connection")
        data += chunk
    return data


def release(sock: socket.socket) -> None:
    sock.sendall(pdu.RELEASE_RQ_PDU)
    receive_pdu(sock)
    sock.close()


def run(port: int, associations: int, objects: int, object_bytes: int) -> dict[str, float]:
    """Send `objects` over `associations` at once; objects/s, MiB/s, and response latencies in ms."""
    probe, max_pdu_bytes = associate(port)
    release(probe)
    study = generate_uid()
    requests = []
    for number in range(objects):
        uid = generate_uid()
        requests.append(encoded(uid, data_set(uid, study, object_bytes), number % 0xFFFF + 1, max_pdu_bytes))
    latencies: list[float] = []
    failures: list[str] = []
    barrier = threading.Barrier(associations + 1)

    def send(share: list[bytes]) -> None:
        barrier.wait()
        try:
            sock, _ = associate(port)
            for request in share:
                began = time.perf_counter()
                sock.sendall(request)
                kind, body = receive_pdu(sock)
                latencies.append(time.perf_counter() - began)
                status = pdu.unsigned_short(pdu.command_elements(body[6:]), pdu.STATUS) if kind == pdu.P_DATA_TF else -kind
                if status:
                    failures.append(f"answered {status}")
            release(sock)
        except OSError as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=send, args=(requests[number::associations],)) for number in range(associations)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise RuntimeError(f"{len(failures)} of {objects} objects failed, the first: {failures[0]}")
    latencies.sort()
    return {
        "objects_per_s": objects / seconds,
        "mib_per_s": objects * object_bytes / 2**20 / seconds,
        "p50_ms": 1e3 * latencies[len(latencies) // 2],
        "p99_ms": 1e3 * latencies[int(0.99 * (len(latencies) - 1))],
    }


if __name__ == "__main__":
    json.dump(run(*(int(argument) for argument in sys.argv[1:5])), sys.stdout)
