"""Many associations, one after the other on several connections, of every ending; what the receiver holds must not grow.

Between a warm-up and the end the receiver is left to finish, and looked at while it rests: memory, threads, open files.
"""

from __future__ import annotations

import itertools
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from receiver.dicom import pdu
from tests.support.processes import receiver_pid, worker_pids
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, association_folders, small_data_set, until

SENDERS = 8
BACKLOG_MAX = 200
"""Associations in the spool at which senders wait, so that a slow emulator does not decide how long the end takes."""
OBJECTS = 3
TRANSIENT = bytes((2, 3))
"""Result and source of a rejection by which the receiver holds off more than it can seal."""
VERIFICATION, IMPLICIT = b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"

RSS_NOISE_BYTES = 12 * 1024 * 1024
"""What a process's memory may differ by though nothing leaks: its allocator keeps what a burst needed.

The warm-up must be some hundred associations: a process's memory grows that long, and then no more.
"""
FILES_NOISE = 8
"""Connections to S3 that happen to be kept open, at most one for each upload worker."""
REST_SECONDS = 6.0
"""A worker gives free memory back every 5 s and reports every second; the last connections' threads end."""
LEAK_MAX_BYTES = 1024
"""Of memory, for each association beyond the noise."""


@dataclass(frozen=True)
class Held:
    """What one process holds while it rests."""

    rss_bytes: int
    threads: int
    files: int

    @classmethod
    def by(cls, pid: int) -> Held:
        process = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return cls(
            int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"].split()[0]), len(list((process / "fd").iterdir()))
        )

    def __str__(self) -> str:
        return f"{self.rss_bytes / 2**20:.1f} MiB, {self.threads} threads, {self.files} files"


@dataclass
class Figures:
    """What a soak came to."""

    associations: int = 0
    objects: int = 0
    seconds: float = 0.0
    rejected: int = 0
    expected: int = 0
    announced: int = 0
    held: dict[int, tuple[Held, Held]] = field(default_factory=dict)
    """By process, after the warm-up and at the end."""

    @property
    def good(self) -> bool:
        return self.expected == self.announced and all(self._flat(*both) for both in self.held.values())

    def _flat(self, before: Held, after: Held) -> bool:
        return (
            after.threads <= before.threads
            and after.files <= before.files + FILES_NOISE
            and after.rss_bytes - before.rss_bytes <= RSS_NOISE_BYTES + LEAK_MAX_BYTES * self.associations
        )

    def __str__(self) -> str:
        processes = "; ".join(f"process {pid}: {before} -> {after}" for pid, (before, after) in self.held.items())
        return (
            f"{self.associations} associations with {self.objects} acknowledged objects in {self.seconds:.0f} s after the "
            f"warm-up, {self.rejected} put off, {self.announced} of {self.expected} announced; {processes}"
        )


class _Load:
    """Senders that share what is still to be done, and what was."""

    def __init__(self, edge: EdgeProcess) -> None:
        self._edge, self.port = edge, edge.port
        self.objects = self.expected = self.rejected = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def run(self, associations: int, deadline: float) -> int:
        """So many associations, or as many as there is time for (monotonic). Returns how many."""
        left = itertools.count(associations, -1)
        done: list[int] = []
        faults: list[Exception] = []

        def work() -> None:
            try:
                while next(left) > 0 and time.monotonic() < deadline and not faults:
                    number = next(self._numbers)
                    if number % SENDERS == 0:
                        self._let_it_catch_up(deadline)
                    self._one(number)
                    done.append(1)
            except Exception as error:  # noqa: BLE001 - raised below, in the thread of the test
                faults.append(error)

        threads = [threading.Thread(target=work) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        return len(done)

    def _let_it_catch_up(self, deadline: float) -> None:
        while len(association_folders(self._edge.spool)) > BACKLOG_MAX and time.monotonic() < deadline:
            time.sleep(0.1)

    def _associated(self, calling_ae: bytes) -> RawPeer:
        """An association; one that is rejected for the time being is tried again, as a modality does."""
        while True:
            peer = RawPeer(self.port, {1: (CT, (EXPLICIT,)), 3: (VERIFICATION, (IMPLICIT,))}, calling_ae=calling_ae)
            if peer.answer[0] == pdu.ASSOCIATE_AC:
                return peer
            assert peer.answer[1][1:3] == TRANSIENT, f"rejected {peer.answer}"
            peer.sock.close()
            with self._lock:
                self.rejected += 1
            time.sleep(0.1)

    def _one(self, number: int) -> None:
        peer = self._associated(b"AE%d" % (number % 200))
        try:
            objects = 0 if number % 10 == 0 else OBJECTS
            for at in range(objects):
                uid = b"2.25.%d.%d" % (number, at)
                assert peer.store(uid, small_data_set(study=b"1.2.%d" % number, more=uid * 40), message_id=at + 1) == 0
            with self._lock:
                self.objects += objects
                self.expected += objects > 0
            match number % 10:
                case 1:
                    peer.abort()
                case 2:
                    peer.sock.sendall(pdu.store_request(1, CT, b"2.25.9", 9) + pdu.p_data_header(1000, 1, 0))  # then lost
                case 3:
                    peer.sock.sendall(b"\xff" * 20)
                    peer.receive()
                case _:
                    peer.release()
        finally:
            peer.sock.close()


def soak(edge: EdgeProcess, *, warm_up: int, associations: int, seconds: float) -> Figures:
    """Put `edge`, which runs, under load for so many associations or so long."""
    load, figures = _Load(edge), Figures()
    load.run(warm_up, time.monotonic() + seconds)
    before = _rest(edge, load.expected)
    objects, begin = load.objects, time.monotonic()
    figures.associations = load.run(associations, begin + seconds)
    figures.seconds, figures.objects = time.monotonic() - begin, load.objects - objects
    after = _rest(edge, load.expected)
    figures.rejected = load.rejected
    figures.expected, figures.announced = load.expected, _announced(edge)
    figures.held = {pid: (held, after[pid]) for pid, held in before.items()}
    return figures


def _rest(edge: EdgeProcess, expected: int) -> dict[int, Held]:
    """Wait until the receiver has nothing to do, and look at its processes."""
    until(lambda: not association_folders(edge.spool), "the spool is empty", 300)
    until(lambda: _announced(edge) >= expected, f"{expected} are announced", 30)
    pids = sorted({receiver_pid(edge)} | worker_pids(edge))
    until(lambda: {pid: Held.by(pid) for pid in pids} == {pid: Held.by(pid) for pid in pids}, "at rest", 10)
    time.sleep(REST_SECONDS)
    return {pid: Held.by(pid) for pid in pids}


def _announced(edge: EdgeProcess) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{edge.health_port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return next(int(family.samples[0].value) for family in families if family.name == "ahi_ingest_associations_announced")
