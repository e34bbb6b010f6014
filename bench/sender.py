"""A sender that is not the bottleneck: everything encoded beforehand, one object outstanding per association.

    python -m bench.sender dicom|raw PORT KIND ASSOCIATIONS RUN [cold]    prints one line of JSON

Its associations run in as many processes as there are cores. `raw` sends the same bytes to bench/sink.py, without DICOM.
Before the clock starts, each association has stored one object more, unless it is `cold`. Loopback only.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Protocol

from pydicom.uid import ExplicitVRLittleEndian

from bench.data import LARGE, Kind, head, kind_of, pixels, sop_instance
from receiver.dicom import pdu

_CONTEXT_ID = 1
_TIMEOUT_SECONDS = 120
_Buffers = Sequence[bytes | memoryview]


class Connection(Protocol):
    """One association, or what stands for it."""

    def store(self, request: _Buffers) -> None:
        """Send an object and wait for its answer. Raises OSError, RuntimeError when it was not stored."""

    def close(self) -> None: ...


class Dicom:
    """An association with a storage SCP."""

    def __init__(self, port: int, kind: Kind) -> None:
        self._sock = _connect(port)
        context = pdu.ProposedContext(_CONTEXT_ID, kind.sop_class.encode(), (ExplicitVRLittleEndian.encode(),))
        self._sock.sendall(
            pdu.associate_rq(called_ae=b"ANY-SCP", calling_ae=b"BENCH", contexts=[context], max_pdu_bytes=pdu.MAX_PDU_BYTES)
        )
        pdu_kind, body = self._receive_pdu()
        if pdu_kind != pdu.ASSOCIATE_AC:
            raise RuntimeError(f"association refused: PDU {pdu_kind}, {body[1:4].hex()}")
        self.max_pdu_bytes = min(pdu.parse_associate_ac(body)[1] or pdu.MAX_PDU_BYTES, pdu.MAX_PDU_BYTES)

    def store(self, request: _Buffers) -> None:
        for buffer in request:
            self._sock.sendall(buffer)
        pdu_kind, body = self._receive_pdu()
        if pdu_kind != pdu.P_DATA_TF:
            raise RuntimeError(f"PDU {pdu_kind} in place of a response")
        status = pdu.unsigned_short(pdu.command_elements(body[pdu.PDV_HEADER_BYTES :]), pdu.STATUS)
        if status:
            raise RuntimeError(f"answered 0x{status:04X}")

    def close(self) -> None:
        self._sock.sendall(pdu.RELEASE_RQ_PDU)
        self._receive_pdu()
        self._sock.close()

    def _receive_pdu(self) -> tuple[int, bytes]:
        header = _receive(self._sock, pdu.HEADER_BYTES)
        return header[0], _receive(self._sock, int.from_bytes(header[2:], "big"))


class Raw:
    """A connection to bench/sink.py: each object behind its length, each answered with one byte."""

    def __init__(self, port: int, _kind: Kind) -> None:
        self._sock = _connect(port)

    def store(self, request: _Buffers) -> None:
        self._sock.sendall(struct.pack(">Q", sum(map(len, request))))
        for buffer in request:
            self._sock.sendall(buffer)
        _receive(self._sock, 1)

    def close(self) -> None:
        self._sock.close()


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError("the peer closed the connection")
        data += chunk
    return data


def _encoder(kind: Kind, max_pdu_bytes: int) -> Callable[[str, int], _Buffers]:
    """What makes a C-STORE-RQ as it goes over the wire. All but the first PDU of the data set is the same memory for all."""
    body, step = memoryview(pixels(kind)), max_pdu_bytes - pdu.PDV_HEADER_BYTES

    def framed(parts: _Buffers, *, last: bool) -> bytes:
        return pdu.p_data_header(sum(map(len, parts)), _CONTEXT_ID, pdu.LAST if last else 0) + b"".join(parts)

    in_first = step - len(head(kind, sop_instance(0, 0)))
    rest = body[in_first:]
    tail = b"".join(framed([rest[at : at + step]], last=at + step >= len(rest)) for at in range(0, len(rest), step))

    def encode(uid: str, message_id: int) -> _Buffers:
        command = pdu.store_request(_CONTEXT_ID, kind.sop_class.encode(), uid.encode(), message_id)
        return (
            (command + framed([head(kind, uid), body[:in_first]], last=not tail), tail)
            if tail
            else (command + framed([head(kind, uid), body], last=True),)
        )

    return encode


class _Association(threading.Thread):
    """Sends its share once all associations are open. Afterwards it has `latencies` in seconds, and the `failure` if any."""

    def __init__(self, connect: Callable[[], Connection], share: Sequence[_Buffers], warm_up: _Buffers, ready: Barrier) -> None:
        super().__init__()
        self._connect, self._share, self._warm_up, self._ready = connect, share, warm_up, ready
        self.latencies: list[float] = []
        self.failure: str | None = None

    def run(self) -> None:
        try:
            connection = self._connect()
            if self._warm_up:
                connection.store(self._warm_up)
        except (OSError, RuntimeError) as error:
            self.failure = repr(error)
        self._ready.wait()
        if self.failure:
            return
        try:
            for request in self._share:
                began = time.perf_counter()
                connection.store(request)
                self.latencies.append(time.perf_counter() - began)
            connection.close()
        except (OSError, RuntimeError) as error:
            self.failure = repr(error)


def run(mode: str, port: int, kind: Kind, associations: int, run_number: int, *, cold: bool = False) -> dict[str, float]:
    """Send a run's objects; objects/s, MiB/s of data sets, and the answers' latencies in ms."""
    protocol: Callable[[int, Kind], Connection] = Dicom if mode == "dicom" else Raw
    max_pdu_bytes = pdu.MAX_PDU_BYTES
    if mode == "dicom":
        probe = Dicom(port, kind)
        max_pdu_bytes = probe.max_pdu_bytes
        probe.close()
    encode, count = _encoder(kind, max_pdu_bytes), kind.count(associations)
    requests = [encode(sop_instance(run_number, number), number % 0xFFFF + 1) for number in range(count)]
    warm_ups = [
        () if cold or kind.name == LARGE.name else encode(sop_instance(run_number, count + number), 1)
        for number in range(associations)
    ]
    fork = multiprocessing.get_context("fork")
    processes = min(associations, os.cpu_count() or 1)
    ready = fork.Barrier(associations + 1)
    pipes = [fork.Pipe(duplex=False) for _ in range(processes)]

    def work(process: int) -> None:
        threads = [
            _Association(lambda: protocol(port, kind), requests[number::associations], warm_ups[number], ready)
            for number in range(process, associations, processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        latencies = [latency for thread in threads for latency in thread.latencies]
        pipes[process][1].send((time.monotonic(), latencies, [thread.failure for thread in threads if thread.failure]))

    workers = [fork.Process(target=work, args=(number,)) for number in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.monotonic()
    ended, latencies, failures = zip(*(pipe.recv() for pipe, _ in pipes), strict=True)
    for worker in workers:
        worker.join()
    failed = list(itertools.chain(*failures))
    if failed:
        raise RuntimeError(f"{len(failed)} of {associations} associations failed, the first: {failed[0]}")
    seconds, ordered = max(ended) - began, sorted(itertools.chain(*latencies))
    return {
        "objects": count,
        "objects_per_s": count / seconds,
        "mib_per_s": count * kind.pixel_bytes / 2**20 / seconds,
        "p50_ms": 1e3 * ordered[len(ordered) // 2],
        "p99_ms": 1e3 * ordered[int(0.99 * (len(ordered) - 1))],
    }


if __name__ == "__main__":
    _mode, _port, _kind, _associations, _run = sys.argv[1:6]
    _figures = run(_mode, int(_port), kind_of(_kind), int(_associations), int(_run), cold=sys.argv[6:] == ["cold"])
    json.dump(_figures, sys.stdout)
