"""kill -9 of the receiver in the middle of associations under load, start again, and count.

Every object that was answered 0x0000 must be in S3 with the bytes that were sent, in exactly one manifest, once; and no folder
may be left. Senders keep their own record of what was acknowledged, as a modality would.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from contract import Ending
from receiver.dicom import pdu
from receiver.dicom.items import MalformedPduError
from receiver.index import index_bytes
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, association_folders, small_data_set, until

SENDERS = 3
OBJECT_BYTES = 60_000


@dataclass
class Figures:
    """What a run of cycles came to; all but the first three must be 0."""

    cycles: int = 0
    acknowledged: int = 0
    associations: int = 0
    lost: int = 0
    twice: int = 0
    folders_left: int = 0
    wrong_bytes: int = 0

    @property
    def good(self) -> bool:
        return self.lost == self.twice == self.folders_left == self.wrong_bytes == 0

    def __str__(self) -> str:
        return (
            f"{self.cycles} cycles of kill -9: {self.acknowledged} objects acknowledged in {self.associations} associations, "
            f"{self.lost} lost, {self.twice} twice in a manifest, {self.wrong_bytes} with other bytes, "
            f"{self.folders_left} folders left"
        )


@dataclass
class _Record:
    """What senders were told."""

    digests: dict[str, str] = field(default_factory=dict)  # SOP Instance UID -> digest of what was sent
    lock: threading.Lock = field(default_factory=threading.Lock)

    def more_than(self, count: int) -> bool:
        return len(self.digests) > count


def run_cycles(edge: EdgeProcess, cycles: int, seed: int = 1) -> Figures:
    """Kill and restart `edge` so many times, let it finish, and compare."""
    chance, record = random.Random(seed), _Record()
    for cycle in range(cycles):
        edge.start()
        stopping = threading.Event()
        senders = [
            threading.Thread(target=_send, args=(edge.port, f"2.25.{cycle}.{number}", record, stopping))
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        until(partial(record.more_than, len(record.digests)), "objects acknowledged")
        time.sleep(chance.uniform(0, 0.3))  # the moment of death is what a cycle varies
        edge.kill()
        stopping.set()
        for sender in senders:
            sender.join()
    edge.start()
    figures = Figures(cycles=cycles, acknowledged=len(record.digests))
    _compare(edge, record, figures)
    edge.stop()
    return figures


def _send(port: int, prefix: str, record: _Record, stopping: threading.Event) -> None:
    """Associations of some objects each, until the receiver is gone."""
    number = 0
    try:
        while not stopping.is_set():
            peer = RawPeer(port, {1: (CT, (EXPLICIT,))}, calling_ae=b"CRASH")
            try:
                if peer.answer[0] != pdu.ASSOCIATE_AC:
                    return
                for _ in range(20):
                    number += 1
                    uid = f"{prefix}.{number}"
                    data = small_data_set(more=uid.encode()) + number.to_bytes(4, "big") * (OBJECT_BYTES // 4)
                    if peer.store(uid.encode(), data) == 0:
                        with record.lock:
                            record.digests[uid] = hashlib.sha256(data).hexdigest()
                peer.release()
            finally:
                peer.sock.close()
    except (OSError, AssertionError, MalformedPduError):
        return  # killed: what was not answered was not acknowledged


def _compare(edge: EdgeProcess, record: _Record, figures: Figures) -> None:
    """Wait for the receiver to finish, and count in S3."""
    deadline = time.monotonic() + 60
    while association_folders(edge.spool) and time.monotonic() < deadline:
        time.sleep(0.05)
    figures.folders_left = len(association_folders(edge.spool))
    manifests = {key for key in edge.keys("manifests/") if key.endswith("/manifest.json")}
    announced = edge.announced(len(manifests)) if manifests else []
    seen: Counter[str] = Counter()
    for one in announced:
        assert one.manifest.ending in {Ending.RECOVERED, Ending.RELEASED, Ending.LOST}
        seen.update(entry.sop_instance_uid for entry in one.entries)
    listed = {entry.key: entry for one in announced for entry in one.entries}
    figures.associations = len(announced)
    figures.lost = sum(1 for uid in record.digests if seen[uid] == 0)
    figures.twice = sum(1 for count in seen.values() if count > 1)
    stored = edge.keys("instances/")
    looked_into = random.Random(figures.acknowledged).sample(sorted(stored), min(len(stored), 100))
    for entry in listed.values():
        in_s3 = index_bytes(edge.content(entry.key)).digest if entry.key in looked_into else entry.digest
        if not record.digests.get(entry.sop_instance_uid, entry.digest) == entry.digest == in_s3:
            figures.wrong_bytes += 1
    figures.lost += len(listed.keys() - stored)
    figures.twice += len(stored - listed.keys())
