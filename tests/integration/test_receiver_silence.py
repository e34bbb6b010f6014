"""A line to S3 that goes silent without a word: it is noticed in the time that docs/spool.md tells, and nothing is lost.

The times are shortened here. The receiver is the real one, with the real clients, against the emulator.
"""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.aws import Aws
from local.processes import LOOPBACK
from receiver.aws import PART_BYTES, AwsCloud
from receiver.cloud import SMALL_MAX_BYTES, CloudUnavailableError
from receiver.service import Receiver
from tests.support.proxy import Line
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, large_data_set, settings_for, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
SIZES = {"held": SMALL_MAX_BYTES, "streamed": PART_BYTES, "in parts": 3 * PART_BYTES}


@pytest.fixture
def line(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A line to the emulator, whose clients wait a second for S3 and not a minute."""
    monkeypatch.setattr("receiver.aws._ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("receiver.aws._STALL_SECONDS", 1.0)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with Line(urlsplit(aws.endpoint_url).port or 0) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{LOOPBACK}:{made.port}")
        yield made


def put(cloud: AwsCloud, content: bytes) -> Callable[[], None]:
    return lambda: cloud.put_file("key", lambda: io.BytesIO(content), len(content))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("share", [0.5, 1.0], ids=["in the middle", "before the answer"])
@pytest.mark.parametrize("size", SIZES)
def test_a_line_that_goes_silent_within_an_object_is_given_up_and_the_object_sent_again(
    aws: Aws, bucket: str, line: Line, size: str, share: float
) -> None:
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    cloud.put_bytes("before", b"x")  # the connection is there
    content = os.urandom(SIZES[size])
    line.silent_at_bytes = line.bytes_sent + int(SIZES[size] * share)
    upload = put(cloud, content)
    with pytest.raises(CloudUnavailableError):
        upload()
    assert line.went_silent.is_set()
    line.heal()
    upload()
    assert aws.s3.get_object(Bucket=bucket, Key="key")["Body"].read() == content
    assert aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.timeout(30)
def test_a_large_object_goes_on_with_the_part_that_was_broken_off(aws: Aws, bucket: str, line: Line) -> None:
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    content = os.urandom(4 * PART_BYTES)
    line.silent_at_bytes = 3 * PART_BYTES + PART_BYTES // 2
    upload = put(cloud, content)
    with pytest.raises(CloudUnavailableError):
        upload()
    line.heal()
    before = line.bytes_sent
    upload()
    assert line.bytes_sent - before < 1.5 * PART_BYTES
    assert aws.s3.get_object(Bucket=bucket, Key="key")["Body"].read() == content


def test_a_large_object_whose_parts_s3_has_dropped_is_sent_anew(aws: Aws, bucket: str, line: Line) -> None:
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    content = os.urandom(2 * PART_BYTES)
    line.silent_at_bytes = PART_BYTES + PART_BYTES // 2
    upload = put(cloud, content)
    with pytest.raises(CloudUnavailableError):
        upload()
    line.heal()
    (begun,) = aws.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    aws.s3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=begun["UploadId"])  # its lifecycle rule does
    with pytest.raises(Exception, match="NoSuchUpload"):
        upload()
    upload()
    assert aws.s3.get_object(Bucket=bucket, Key="key")["Body"].read() == content


@pytest.mark.timeout(30)
@pytest.mark.parametrize("size", SIZES)
def test_a_connection_that_is_never_made_is_given_up(line: Line, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    with socket.create_server((LOOPBACK, 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]  # more than its queue takes: the kernel drops what comes then
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((LOOPBACK, port))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{LOOPBACK}:{port}")
        cloud = AwsCloud(bucket="bucket", queue_url="http://queue", connections=4)
        with pytest.raises(CloudUnavailableError):
            put(cloud, bytes(SIZES[size]))()
        for one in waiting:
            one.close()


@pytest.mark.timeout(60)
def test_a_receiver_whose_line_goes_silent_refuses_in_time_keeps_all_and_goes_on_once_it_heals(
    aws: Aws, bucket: str, line: Line, tmp_path: Path
) -> None:
    reader = EdgeProcess.prepare(aws, bucket, tmp_path)
    settings = settings_for(
        tmp_path / "spool", bucket=bucket, queue_url=reader.queue_url, durability="cloud", confirmation_seconds=2
    )
    receiver = Receiver(settings, AwsCloud(bucket=bucket, queue_url=reader.queue_url, connections=8))
    receiver.start()
    try:
        sizes = {b"1.1": 10, b"1.2": 2 * SMALL_MAX_BYTES, b"1.3": 2 * PART_BYTES}
        sent = {uid: large_data_set(size) for uid, size in sizes.items()}
        first = RawPeer(receiver.port, STORAGE)
        assert first.store(b"1.0", small_data_set()) == 0x0000
        line.silent = True
        answers: dict[bytes, int] = {}

        def store(uid: bytes) -> None:
            peer = RawPeer(receiver.port, STORAGE, calling_ae=uid)
            answers[uid] = peer.store(uid, sent[uid])
            peer.release()

        senders = [threading.Thread(target=store, args=(uid,)) for uid in sent]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(20)
        assert answers == dict.fromkeys(sent, 0xA700)
        assert aws.s3.list_objects_v2(Bucket=bucket, Prefix="instances/")["KeyCount"] == 1
        line.heal()
        assert first.store(b"1.9", small_data_set(), message_id=2) == 0x0000
        first.release()
        announced = {one.manifest.calling_ae: one for one in reader.announced(4)}
        assert [len(announced[uid.decode()].entries) for uid in sent] == [1, 1, 1]
        assert len(announced["RAW"].entries) == 2
        for uid, data_set in sent.items():
            assert reader.content(announced[uid.decode()].entries[0].key).endswith(data_set)
        until(lambda: receiver.is_idle, "all is announced")
        assert reader.waiting_messages() == 0
    finally:
        receiver.stop()
