"""kill -9 of the receiver in the middle of associations under load, start again, and count.

Every object that was answered 0x0000 must be in S3 with the bytes that were sent, in exactly one manifest, once; what is
faulty must be in quarantine there; each manifest must have been announced; and no folder may be left. The receiver runs with
one worker or several; killed are a worker, the supervisor, or all at once.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

from contract.manifest import AssociationManifest, PartManifest
from contract.message import InboundMessage
from contract.strict import from_json
from local.processes import Process
from receiver.index import index_bytes
from tests.crash.senders import Record, Senders
from tests.support.processes import receiver_pid, worker_pids
from tests.support.receiver import EdgeProcess, association_folders, until

_WITHIN_SECONDS = 120
_KILLED_WORKERS_MAX = 8  # then all are killed: a supervisor waits longer after each


@dataclass
class Figures:
    """What cycles came to. The last six must be 0."""

    cycles: int = 0
    killed_workers: int = 0
    killed_supervisors: int = 0
    killed_all: int = 0
    acknowledged: int = 0
    quarantined: int = 0
    associations: int = 0
    lost: int = 0
    twice: int = 0
    unlisted: int = 0
    wrong_bytes: int = 0
    unannounced: int = 0
    folders_left: int = 0

    @property
    def good(self) -> bool:
        return not any((self.lost, self.twice, self.unlisted, self.wrong_bytes, self.unannounced, self.folders_left))

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def __str__(self) -> str:
        return (
            f"{self.cycles} cycles of kill -9 ({self.killed_workers} of a worker, {self.killed_supervisors} of the supervisor, "
            f"{self.killed_all} of all): {self.acknowledged} objects acknowledged in {self.associations} associations, "
            f"{self.quarantined} of them quarantined; {self.lost} lost, {self.twice} twice in a manifest, "
            f"{self.unlisted} in S3 and in no manifest, {self.wrong_bytes} with other bytes, "
            f"{self.unannounced} manifests without a message, {self.folders_left} folders left"
        )


class Victim:
    """A receiver that is killed and started again."""

    def __init__(self, edge: EdgeProcess, workers: int, chance: random.Random) -> None:
        self.edge = replace(edge, changes=edge.changes | {"WORKERS": str(workers)})
        self._workers, self._chance = workers, chance
        self._running = False
        self._orphans: list[Process] = []
        self._killed_workers = 0

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self._running:
            self.edge.start()
            self._running, self._killed_workers = True, 0

    def kill(self, figures: Figures) -> None:
        """Kill some of it, and what is still there of one whose supervisor was killed before."""
        self._kill_orphans()
        may_be_one = self._workers > 1 and self._killed_workers < _KILLED_WORKERS_MAX
        kind = self._chance.choices(("worker", "supervisor", "all"), (6, 1, 1))[0] if may_be_one else "all"
        if kind == "worker" and (workers := sorted(worker_pids(self.edge))):
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(workers), signal.SIGKILL)
            self._killed_workers += 1
            figures.killed_workers += 1
            return
        assert self.edge.process is not None
        if kind == "supervisor":
            os.kill(receiver_pid(self.edge), signal.SIGKILL)
            self._orphans.append(self.edge.process)
            figures.killed_supervisors += 1
        else:
            self.edge.kill()
            figures.killed_all += 1
        self._running = False

    def stop(self) -> None:
        self.edge.stop()
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        for process in self._orphans:
            process.kill()
        self._orphans.clear()


def run_cycles(edge: EdgeProcess, cycles: int, *, seed: int = 1, workers: int = 4, dcmtk: bool = True) -> Figures:
    """Kill and restart `edge` so many times, let it finish, and compare."""
    chance, record, figures = random.Random(seed), Record(), Figures(cycles=cycles)
    victim = Victim(edge, workers, chance)

    def more_than(count: int) -> bool:
        return len(record.digests) > count

    for cycle in range(cycles):
        victim.start()
        with Senders(victim.edge.port, record, f"2.25.{seed}.{cycle}", peers=3, dcmtk=dcmtk):
            until(partial(more_than, len(record.digests)), "objects acknowledged", within_seconds=_WITHIN_SECONDS)
            time.sleep(chance.uniform(0, 0.4))  # the moment of death is what a cycle varies
            victim.kill(figures)
    victim.start()
    compare(victim.edge, record, figures)
    victim.stop()
    return figures


def compare(edge: EdgeProcess, record: Record, figures: Figures) -> None:
    """Wait for the receiver to finish, and count in S3."""
    _wait(lambda: not association_folders(edge.spool))
    figures.folders_left = len(association_folders(edge.spool))
    keys = edge.keys("manifests/")
    manifests = [from_json(AssociationManifest, edge.content(key)) for key in keys if key.endswith("/manifest.json")]
    parts = [from_json(PartManifest, edge.content(key)) for key in keys if not key.endswith("/manifest.json")]
    entries = [entry for part in parts for entry in part.entries]
    quarantined = [held for manifest in manifests for held in manifest.quarantined]
    named = {entry.key for entry in entries} | {held.key for held in quarantined}
    stored = edge.keys("instances/") | edge.keys("quarantine/")

    listed = Counter([entry.sop_instance_uid for entry in entries] + [held.sop_instance_uid for held in quarantined])
    in_quarantine = {held.sop_instance_uid for held in quarantined}
    figures.acknowledged, figures.associations = len(record.digests), len(manifests)
    figures.quarantined = len(record.faulty)
    figures.lost = sum(1 for uid in record.digests if not listed[uid])
    figures.lost += sum(1 for uid in record.faulty if uid not in in_quarantine)
    figures.lost += len(named - stored)
    figures.twice = sum(1 for count in listed.values() if count > 1)
    figures.unlisted = len(stored - named)

    looked_into = random.Random(len(stored)).sample(sorted(stored), min(len(stored), 100))
    digests = {entry.key: entry.digest for entry in entries}
    digests |= {held.key: record.digests.get(held.sop_instance_uid, "") for held in quarantined}
    for entry in entries:
        figures.wrong_bytes += record.digests.get(entry.sop_instance_uid, entry.digest) != entry.digest
    for key in looked_into:
        figures.wrong_bytes += bool(digests[key]) and index_bytes(edge.content(key)).digest != digests[key]

    told: set[str] = set()
    figures.unannounced = len({manifest.association for manifest in manifests} - _read_queue(edge, told, len(manifests)))


def _read_queue(edge: EdgeProcess, told: set[str], wanted: int) -> set[str]:
    """The associations that messages name."""

    def all_told() -> bool:
        answer = edge.aws.sqs.receive_message(QueueUrl=edge.queue_url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        for received in answer.get("Messages", []):
            told.add(from_json(InboundMessage, received["Body"]).association)
            edge.aws.sqs.delete_message(QueueUrl=edge.queue_url, ReceiptHandle=received["ReceiptHandle"])
        return len(told) >= wanted

    _wait(all_told)
    return told


def _wait(condition: Callable[[], bool]) -> None:
    """Until it holds, or for long enough that it never will."""
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
