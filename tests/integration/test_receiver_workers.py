"""Several workers on one port and one spool, as processes against the AWS emulator; some are killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from contract import Ending
from local.aws import Aws
from receiver.dicom import pdu
from tests.support.processes import receiver_pid, run_receiver, worker_pids
from tests.support.receiver import (
    CT,
    EXPLICIT,
    EdgeProcess,
    RawPeer,
    association_folders,
    small_data_set,
    until,
)

STORAGE = {1: (CT, (EXPLICIT,))}


def worker_of(edge: EdgeProcess, peer: RawPeer) -> int:
    """The worker that serves the peer, by the socket that it has open."""
    ours, theirs = peer.sock.getsockname()[1], peer.sock.getpeername()[1]
    ends = f"0100007F:{theirs:04X} 0100007F:{ours:04X}"
    inode = next(line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if ends in line)
    for pid in worker_pids(edge):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()) == f"socket:[{inode}]":
                    return pid
    raise AssertionError("no worker has the peer's socket")


def port_is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_a_killed_worker_is_replaced_and_its_siblings_associations_end_complete(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=4) as edge:
        before = worker_pids(edge)
        assert len(before) == 4
        peers = {number: RawPeer(edge.port, STORAGE, calling_ae=b"AE%d" % number) for number in range(12)}
        serving = {number: worker_of(edge, peer) for number, peer in peers.items()}
        assert set(serving.values()) == before, "twelve associations leave no worker without one"
        for number, peer in peers.items():
            assert peer.store(b"1.%d.1" % number, small_data_set()) == 0
        victim = serving[0]
        os.kill(victim, signal.SIGKILL)
        for number, peer in peers.items():
            if serving[number] == victim:
                peer.sock.close()
            else:
                assert peer.store(b"1.%d.2" % number, small_data_set(), message_id=2) == 0
                peer.release()
        announced = {one.manifest.calling_ae: one for one in edge.announced(len(peers))}
        assert len(announced) == len(peers)
        for number, pid in serving.items():
            one = announced[f"AE{number}"]
            uids = sorted(entry.sop_instance_uid for entry in one.entries)
            if pid == victim:
                assert (one.manifest.ending, uids) == (Ending.RECOVERED, [f"1.{number}.1"])
            else:
                assert (one.manifest.ending, uids) == (Ending.RELEASED, [f"1.{number}.1", f"1.{number}.2"])
        assert len({one.manifest.sequence for one in announced.values()}) == len(peers)
        until(lambda: len(worker_pids(edge)) == 4, "the killed worker is replaced", within_seconds=20)
        assert before - worker_pids(edge) == {victim}
        until(lambda: not association_folders(edge.spool), "folders removed")
    assert list(edge.spool.glob("out/*")) == []


def test_of_workers_that_coalesce_one_killed_each_object_is_in_one_manifest(aws: Aws, bucket: str, tmp_path: Path) -> None:
    changes = {"workers": 4, "coalesce_seconds": 1}
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", **changes) as edge:
        acknowledged: set[str] = set()
        half = threading.Barrier(5)

        def send(sender: int) -> None:
            """Associations of one image each, as an ultrasound machine sends them."""
            for number in range(20):
                if number == 10:
                    half.wait(60)
                uid = b"1.%d.%d" % (sender, number)
                with suppress(OSError, AssertionError):  # the worker is killed in the middle
                    peer = RawPeer(edge.port, STORAGE, calling_ae=b"US%d" % sender)
                    with closing(peer.sock):
                        if peer.store(uid, small_data_set(more=uid)) == 0:
                            acknowledged.add(uid.decode())
                        peer.release()

        with ThreadPoolExecutor(4) as pool:
            sending = [pool.submit(send, sender) for sender in range(4)]
            open_ = RawPeer(edge.port, STORAGE, calling_ae=b"OPEN")
            assert open_.store(b"2.1", small_data_set()) == 0
            half.wait(60)
            os.kill(worker_of(edge, open_), signal.SIGKILL)
            open_.sock.close()
            for one in sending:
                one.result()
        until(lambda: not association_folders(edge.spool), "all is announced", within_seconds=60)
        announced = edge.announced(edge.waiting_messages())
    listed = [entry.sop_instance_uid for one in announced for entry in one.entries]
    assert len(listed) == len(set(listed))
    assert acknowledged <= set(listed)
    assert len(acknowledged) >= 40, "nothing was killed before the second half"
    assert len(announced) < len(listed) / 2, "manifests were shared"
    members = [member.association for one in announced for member in one.manifest.members]
    assert len(members) == len(set(members))
    (left,) = (one for one in announced if one.manifest.calling_ae == "OPEN")
    assert (left.manifest.ending, [entry.sop_instance_uid for entry in left.entries]) == (Ending.RECOVERED, ["2.1"])


def test_workers_whose_supervisor_is_killed_let_go_of_the_port_finish_and_end(aws: Aws, bucket: str, tmp_path: Path) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=2, drain_timeout_seconds=120)
    edge.start()
    workers = worker_pids(edge)
    peer = RawPeer(edge.port, STORAGE)
    assert peer.store(b"1.1", small_data_set()) == 0
    os.kill(receiver_pid(edge), signal.SIGKILL)
    until(lambda: port_is_closed(edge.port), "the port is closed", within_seconds=20)
    successor = EdgeProcess(aws, bucket, edge.queue_url, edge.folder, edge.changes | {"PORT": str(edge.port)})
    with successor:
        assert peer.store(b"1.2", small_data_set(), message_id=2) == 0
        peer.release()
        other = RawPeer(successor.port, STORAGE)
        assert other.store(b"1.3", small_data_set()) == 0
        other.release()
        announced = successor.announced(2)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers end", within_seconds=20)
    edge.kill()
    assert sorted(len(one.entries) for one in announced) == [1, 2]
    assert {one.manifest.ending for one in announced} == {Ending.RELEASED}
    assert len({one.manifest.sequence for one in announced}) == 2
    assert list(edge.spool.glob("out/*")) == []


def test_sigterm_drains_all_workers_and_rejects_what_comes_meanwhile(aws: Aws, bucket: str, tmp_path: Path) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=2, drain_timeout_seconds=120)
    edge.start()
    peer = RawPeer(edge.port, STORAGE)
    assert peer.store(b"1.1", small_data_set()) == 0
    os.kill(receiver_pid(edge), signal.SIGTERM)

    def rejected() -> bool:
        late = RawPeer(edge.port, STORAGE)
        if late.answer[0] == pdu.ASSOCIATE_AC:
            late.release()
            return False
        late.sock.close()
        return late.answer[1][1:4] == bytes((2, 3, 1))

    until(rejected, "a new association is rejected", within_seconds=20)
    assert peer.store(b"1.2", small_data_set(), message_id=2) == 0
    peer.release()
    assert edge.process is not None
    assert edge.process.wait(60) == 0
    edge.stop()
    assert len(edge.announced(1)[0].entries) == 2
    assert list(edge.spool.glob("out/*")) == []


def test_what_keeps_workers_from_starting_ends_the_receiver_with_what_to_do(tmp_path: Path) -> None:
    edge = EdgeProcess(Aws("http://127.0.0.1:1"), "bucket", "http://queue", tmp_path, {"WORKERS": "2"})
    environment = {name: value for name, value in edge.environment().items() if name != "AWS_REGION"}
    done = run_receiver(environment | {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_EC2_METADATA_DISABLED": "true"})
    assert done.returncode == 2
    assert "Set AWS_REGION" in done.stderr
    assert "Traceback" not in done.stderr
