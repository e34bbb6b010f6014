"""Senders that never stop, and the record of what they were told, as modalities would keep it."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.programs import dcmtk
from receiver.dicom import pdu
from receiver.dicom.items import MalformedPduError
from tests.support.dicom import ct_series
from tests.support.receiver import CT, EXPLICIT, RawPeer, small_data_set
from tests.support.wire import RecordingProxy

_OBJECTS = 15
_VALUE_BYTES = 20_000
_FAULTY_EVERY = 7


def _commands() -> tuple[tuple[str, ...], ...]:
    return (dcmtk("storescu"), "-aet", "STORESCU"), (dcmtk("dcmsend"), "-aet", "DCMSEND")


@dataclass
class Record:
    """What was acknowledged: SOP Instance UID -> digest of the data set as it was sent. `faulty` are UIDs."""

    digests: dict[str, str] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledged(self, uid: str, data: bytes, *, faulty: bool = False) -> None:
        with self.lock:
            self.digests[uid] = hashlib.sha256(data).hexdigest()
            if faulty:
                self.faulty.add(uid)


class Senders:
    """Threads that send to a port of 127.0.0.1: our own peers, and DCMTK's programs behind a recording proxy.

    A context manager: at its end the last objects are recorded.
    """

    def __init__(self, port: int, record: Record, prefix: str, *, peers: int, dcmtk: bool) -> None:
        self._port, self._record, self._stopping = port, record, threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(f"{prefix}.{number}",)) for number in range(peers)]
        if dcmtk:
            self._threads += [threading.Thread(target=self._run, args=(command,)) for command in _commands()]

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send(self, prefix: str) -> None:
        number = 0
        while not self._stopping.is_set():
            try:
                number = self._one_association(prefix, number)
            except (OSError, AssertionError, MalformedPduError):  # killed: what was not answered was not acknowledged
                time.sleep(0.02)
                number += 1

    def _one_association(self, prefix: str, number: int) -> int:
        peer = RawPeer(self._port, {1: (CT, (EXPLICIT,))}, calling_ae=b"CRASH")
        try:
            assert peer.answer[0] == pdu.ASSOCIATE_AC
            for _ in range(_OBJECTS):
                if self._stopping.is_set():
                    break
                number += 1
                uid, faulty = f"{prefix}.{number}", number % _FAULTY_EVERY == 0
                data = small_data_set(more=uid.encode() * (_VALUE_BYTES // len(uid)))
                data = data[:-1] if faulty else data
                if peer.store(uid.encode(), data) == 0:
                    self._record.acknowledged(uid, data, faulty=faulty)
            peer.release()
        finally:
            peer.sock.close()
        return number

    def _run(self, command: tuple[str, ...]) -> None:
        """One program, again and again, each time with objects of its own."""
        with TemporaryDirectory() as folder, RecordingProxy(self._port) as proxy:
            number = 0
            while not self._stopping.is_set():
                number += 1
                files = ct_series(Path(folder) / str(number), random.randint(1, _OBJECTS))
                subprocess.run(
                    [*command, "-ta", "5", "-td", "5", "127.0.0.1", str(proxy.port), *map(str, files)],
                    env={**os.environ, "TCP_NODELAY": "1"},
                    capture_output=True,
                    timeout=60,
                    check=False,  # the receiver is killed meanwhile
                )
            for stored in proxy.acknowledged:
                self._record.acknowledged(stored.sop_instance_uid, stored.data_set)
