"""kill -9 at each point of an association's path, and what the next start makes of what is left.

The same points as in tests/unit/receiver/test_spool_recovery.py, with a real process, a real disk and the AWS emulator.
"""

from __future__ import annotations

import hashlib
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from contract import Ending
from local.aws import Aws
from tests.crash.dying import POINTS
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, association_folders, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
UIDS = ["1.1", "1.2", "1.3"]
DATA = {uid: small_data_set(more=uid.encode() * 9) for uid in UIDS}

# Point: objects that are announced, as what, and in how many messages.
LEFT: dict[str, tuple[int, Ending, int]] = {
    "a folder without its start facts": (0, Ending.RECOVERED, 0),
    "a half-written object": (1, Ending.RECOVERED, 1),
    "an object that is written and not synced": (1, Ending.RECOVERED, 1),
    "an object that is not renamed": (1, Ending.RECOVERED, 1),
    "an object that is renamed and not acknowledged": (2, Ending.RECOVERED, 1),
    "an association that never ended": (3, Ending.RECOVERED, 1),
    "a sequence number without a seal": (3, Ending.RECOVERED, 1),
    "a sealed association of which nothing is uploaded": (3, Ending.RELEASED, 1),
    "a sealed association that is half uploaded": (3, Ending.RELEASED, 1),
    "an uploaded association without a manifest": (3, Ending.RELEASED, 1),
    "half a manifest": (3, Ending.RELEASED, 1),
    "a manifest that is not in S3": (3, Ending.RELEASED, 1),
    "half a manifest in S3": (3, Ending.RELEASED, 1),
    "a manifest without a message": (3, Ending.RELEASED, 1),
    "a message before the removal": (3, Ending.RELEASED, 2),
    "a half-emptied folder": (3, Ending.RELEASED, 1),
    "a half-removed folder": (3, Ending.RELEASED, 1),
}


def send_until_it_dies(port: int) -> list[str]:
    """The UIDs that were acknowledged."""
    acknowledged = []
    peer = RawPeer(port, STORAGE)
    try:
        for uid in UIDS:
            assert peer.store(uid.encode(), DATA[uid]) == 0
            acknowledged.append(uid)
        peer.release()
    except (OSError, AssertionError):  # it is dead
        pass
    finally:
        peer.sock.close()
    return acknowledged


@pytest.mark.parametrize("point", POINTS)
def test_what_is_left_is_finished_by_the_next_start(aws: Aws, bucket: str, tmp_path: Path, point: str) -> None:
    dying = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", upload_workers=1)
    dying.command = ("-m", "tests.crash.dying", point)
    dying.start()
    assert dying.process is not None
    acknowledged = send_until_it_dies(dying.port)
    assert dying.process.wait(20) == 128 + signal.SIGKILL  # as its guardian says it
    dying.stop()
    objects, ending, messages = LEFT[point]
    with replace(dying, command=("-m", "receiver"), process=None) as edge:
        until(lambda: not association_folders(edge.spool), "no folder is left", within_seconds=20)
        assert edge.waiting_messages() == messages
        announced = edge.announced(1) if messages else []
    entries = [entry for one in announced for entry in one.entries]
    assert acknowledged == UIDS[: len(acknowledged)]
    assert len(acknowledged) == objects - (point == "an object that is renamed and not acknowledged")
    assert [entry.sop_instance_uid for entry in entries] == UIDS[:objects]
    assert {entry.key for entry in entries} == edge.keys("instances/")
    for entry in entries:
        assert entry.digest == hashlib.sha256(DATA[entry.sop_instance_uid]).hexdigest()
        assert edge.content(entry.key).endswith(DATA[entry.sop_instance_uid])
    assert {one.manifest.ending for one in announced} == ({ending} if messages else set())
