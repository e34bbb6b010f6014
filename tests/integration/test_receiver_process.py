"""The receiver as it runs: a process of its own, against the AWS emulator."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from contract import Ending
from local.aws import Aws
from local.ministack import MiniStack
from local.processes import free_port
from receiver.dicom.sender import send
from receiver.index import index_bytes
from tests.support.dicom import ct_series
from tests.support.processes import receiver_pid, run_receiver, worker_pids
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, association_folders, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
MIB = 1024 * 1024


def test_a_study_arrives_in_s3_with_its_manifest_and_a_message(aws: Aws, bucket: str, tmp_path: Path) -> None:
    paths = ct_series(tmp_path / "ct", 5, patient_id="SECRET-PATIENT")
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        assert all(result.status == 0 for result in send(paths, host="127.0.0.1", port=edge.port, calling_ae="CT_ROOM_1"))
        (announced,) = edge.announced(1)
        until(lambda: not association_folders(edge.spool), "the folder is removed")
    assert (announced.message.bucket, announced.message.ending, announced.message.objects) == (bucket, Ending.RELEASED, 5)
    assert {entry.key for entry in announced.entries} == edge.keys("instances/")
    for entry in announced.entries:
        assert index_bytes(edge.content(entry.key)).digest == entry.digest
    assert list(edge.spool.glob("out/*")) == []
    lines = edge.log_path.read_text().splitlines()
    assert {json.loads(line)["event"] for line in lines} >= {"ready", "association opened", "association announced"}
    for secret in ("SECRET-PATIENT", "Test^Case", "19700101"):
        assert secret not in edge.log_path.read_text()


def heaps_of_threads(pid: int) -> int:
    """glibc's heaps but the main one: each reserves 64 MiB at a multiple of that, of which a part may be used."""
    found, begin, end = 0, -1, -1
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, permissions = line.split()[:2]
        first, last = (int(one, 16) for one in place.split("-"))
        if permissions == "---p" and first == end and last == begin + 64 * MIB:
            found += 1
        begin, end = (first, last) if permissions == "rw-p" and first % (64 * MIB) == 0 else (-1, -1)
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_the_threads_of_a_process_share_two_heaps(aws: Aws, bucket: str, tmp_path: Path, workers: int) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=workers) as edge:
        list(send(ct_series(tmp_path / "ct", 20), host="127.0.0.1", port=edge.port, calling_ae="CT_ROOM_1"))
        edge.announced(1)
        processes = worker_pids(edge) if workers > 1 else {receiver_pid(edge)}
        assert [heaps_of_threads(pid) for pid in processes] == [1] * workers


def test_sigterm_lets_an_association_end_and_leaves_nothing(aws: Aws, bucket: str, tmp_path: Path) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge")
    edge.start()
    peer = RawPeer(edge.port, STORAGE)
    peer.store(b"1.9", small_data_set())
    os.kill(receiver_pid(edge), 15)
    assert peer.store(b"1.10", small_data_set(), message_id=2) == 0
    peer.release()
    assert edge.process is not None
    assert edge.process.wait(15) == 0
    edge.stop()
    assert len(edge.announced(1)[0].entries) == 2
    assert list(edge.spool.glob("out/*")) == []


def test_what_a_killed_receiver_left_is_announced_as_recovered_by_the_next(aws: Aws, bucket: str, tmp_path: Path) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge")
    edge.start()
    peer = RawPeer(edge.port, STORAGE, calling_ae=b"CT_9")
    for number in range(3):
        peer.store(b"1.%d" % number, small_data_set(more=b"%d" % number))
    edge.kill()
    peer.sock.close()
    with edge:
        (announced,) = edge.announced(1)
    assert (announced.manifest.ending, announced.manifest.calling_ae) == (Ending.RECOVERED, "CT_9")
    assert [entry.sop_instance_uid for entry in announced.entries] == ["1.0", "1.1", "1.2"]


def test_an_outage_of_the_cloud_is_outlived_without_a_restart(tmp_path: Path) -> None:
    state, port = tmp_path / "aws", free_port()
    cloud = MiniStack.start(state, port)
    cloud.aws.s3.create_bucket(Bucket="outage")
    edge = EdgeProcess.prepare(cloud.aws, "outage", tmp_path / "edge")
    try:
        with edge:
            first, second = ct_series(tmp_path / "1", 5), ct_series(tmp_path / "2", 5)
            peer = RawPeer(edge.port, STORAGE)
            peer.store(b"1.9", small_data_set())
            cloud.stop()
            for paths in (first, second):
                assert all(result.status == 0 for result in send(paths, host="127.0.0.1", port=edge.port))
            peer.release()
            until(lambda: "will be tried again" in edge.log_path.read_text(), "the outage is seen")
            cloud = MiniStack.start(state, port)
            assert sorted(len(one.entries) for one in edge.announced(3)) == [1, 5, 5]
    finally:
        cloud.stop()


def test_a_second_receiver_on_the_same_spool_is_told_what_to_do(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        done = run_receiver(edge.environment())
    assert done.returncode == 2
    assert "Another receiver uses the spool" in done.stderr
    assert "AHI_INGEST_SPOOL" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EDGE_ID", "Not An Edge", "Set AHI_INGEST_EDGE_ID: edge: expected up to 32 of a-z"),
        ("EDGE_ID", "", "Set AHI_INGEST_EDGE_ID: is not set"),
        ("SPOOL", "relative/path", "Set AHI_INGEST_SPOOL: expected an absolute path"),
        ("PORT", "99999", "Set AHI_INGEST_PORT: "),
        ("QUEUE_URL", "inbound", "Set AHI_INGEST_QUEUE_URL: "),
        ("IDLE_TIMEOUT_SECONDS", "soon", "Set AHI_INGEST_IDLE_TIMEOUT_SECONDS: "),
        ("SPOOL", "/proc/nothing/spool", "The receiver cannot start"),
    ],
)
def test_an_impossible_setting_stops_the_start_with_what_to_do(tmp_path: Path, name: str, value: str, said: str) -> None:
    environment = EdgeProcess(Aws("http://127.0.0.1:1"), "bucket", "http://queue", tmp_path, {name: value}).environment()
    done = run_receiver(environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_stops_the_start_with_what_to_do(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        taken = EdgeProcess(aws, bucket, "http://queue", tmp_path / "other", {"PORT": str(edge.port)})
        (tmp_path / "other").mkdir()
        done = run_receiver(taken.environment())
    assert done.returncode == 2
    assert "AHI_INGEST_PORT" in done.stderr
