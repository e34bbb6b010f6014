"""The contract of `receiver.cloud.Cloud`, kept by AWS's clients against the emulator, and by the fake that other tests use."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO
from uuid import uuid4

import pytest

from local.aws import Aws
from local.processes import LOOPBACK, free_port
from receiver.aws import PART_BYTES, AwsCloud
from receiver.cloud import SMALL_MAX_BYTES, Cloud, CloudRefusedError, CloudUnavailableError, ContentDiffersError
from tests.support.cloud import FakeCloud

LARGE = bytes(range(256)) * (PART_BYTES // 128 + 3)


class Tried:
    """A cloud, and how to look into it."""

    def __init__(self, cloud: Cloud, content: Callable[[str], bytes], messages: Callable[[], list[str]]) -> None:
        self.cloud, self.content, self.messages = cloud, content, messages


def environment(patch: pytest.MonkeyPatch, endpoint_url: str) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ENDPOINT_URL", endpoint_url)
    patch.setenv("AWS_ACCESS_KEY_ID", "local")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    patch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture(params=["AWS", "fake"])
def tried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tried:
    if request.param == "fake":
        fake = FakeCloud()
        return Tried(fake, fake.objects.__getitem__, lambda: fake.messages)
    aws: Aws = request.getfixturevalue("aws")
    bucket: str = request.getfixturevalue("bucket")
    queue_url = aws.sqs.create_queue(QueueName=f"inbound-{uuid4().hex[:12]}")["QueueUrl"]
    environment(monkeypatch, aws.endpoint_url)

    def messages() -> list[str]:
        answer = aws.sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=2, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    return Tried(
        AwsCloud(bucket=bucket, queue_url=queue_url, connections=4),
        lambda key: aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read(),
        messages,
    )


def file_of(content: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(content)


@pytest.mark.parametrize("key", ["a/b.dcm", "instances/e/1.2~0123456789ab.dcm", "a/_/_/x-0f.dcm"])
def test_a_small_object_is_put_once_and_found_again(tried: Tried, key: str) -> None:
    tried.cloud.put_bytes(key, b"content")
    tried.cloud.put_bytes(key, b"content")
    assert tried.content(key) == b"content"


@pytest.mark.parametrize("size_bytes", [8, SMALL_MAX_BYTES + 1], ids=["held", "streamed"])
def test_a_key_that_holds_other_content_is_never_overwritten(tried: Tried, size_bytes: int) -> None:
    content, other = bytes(size_bytes), bytes(size_bytes - 1) + b"!"
    for _ in range(2):
        tried.cloud.put_file("key", file_of(content), size_bytes)
    with pytest.raises(ContentDiffersError):
        tried.cloud.put_file("key", file_of(other), size_bytes)
    assert tried.content("key") == content


def test_a_large_object_is_put_once_and_found_again(tried: Tried) -> None:
    for _ in range(2):
        tried.cloud.put_file("large", file_of(LARGE), len(LARGE))
    assert tried.content("large") == LARGE
    other = LARGE[:-1] + b"!"
    with pytest.raises(ContentDiffersError):
        tried.cloud.put_file("large", file_of(other), len(other))
    assert tried.content("large") == LARGE


def test_a_small_file_is_put(tried: Tried) -> None:
    tried.cloud.put_file("small", file_of(b"content"), 7)
    tried.cloud.put_bytes("small", b"content")
    assert tried.content("small") == b"content"


def test_a_large_object_that_is_there_is_not_sent_again(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, aws.endpoint_url)
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    cloud.put_file("large", file_of(LARGE), len(LARGE))
    monkeypatch.setattr(cloud._s3, "upload_part", None)
    cloud.put_file("large", file_of(LARGE), len(LARGE))
    with pytest.raises(ContentDiffersError):
        cloud.put_file("large", file_of(LARGE[:-1] + b"!"), len(LARGE))


def test_a_large_object_that_appears_meanwhile_is_found_by_its_checksum(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, aws.endpoint_url)
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    monkeypatch.setattr(cloud, "_has", lambda *_: False)
    for _ in range(2):
        cloud.put_file("large", file_of(LARGE), len(LARGE))
    with pytest.raises(ContentDiffersError):
        cloud.put_file("large", file_of(LARGE[:-1] + b"!"), len(LARGE))
    assert aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_message_is_sent(tried: Tried) -> None:
    tried.cloud.send_message("body")
    assert tried.messages() == ["body"]


def test_aws_verifies_a_checksum_of_each_object(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, aws.endpoint_url)
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4)
    cloud.put_bytes("small", b"content")
    cloud.put_file("large", file_of(LARGE), len(LARGE))
    assert "ChecksumSHA256" in aws.s3.head_object(Bucket=bucket, Key="small", ChecksumMode="ENABLED")
    assert "ChecksumCRC32" in aws.s3.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    assert aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_every_object_is_encrypted_with_the_key_of_the_setting(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, aws.endpoint_url)
    key = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    cloud = AwsCloud(bucket=bucket, queue_url="http://queue", connections=4, kms_key_id=key)
    cloud.put_bytes("small", b"content")
    cloud.put_file("large", file_of(LARGE), len(LARGE))
    for name in ("small", "large"):
        head = aws.s3.head_object(Bucket=bucket, Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_what_is_replaced_is_there_as_it_was_put_last_and_s3_tells_its_time(tried: Tried) -> None:
    for content in (b"one", b"two"):
        s3_time = tried.cloud.replace("status/edge-1.json", content)
    assert tried.content("status/edge-1.json") == b"two"
    assert abs((datetime.now(UTC) - s3_time).total_seconds()) < 5


def test_what_needs_someone_to_change_something_is_refused(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, aws.endpoint_url)
    nowhere = AwsCloud(bucket="no-such-bucket", queue_url=f"{aws.endpoint_url}/000000000000/no-such-queue", connections=4)
    with pytest.raises(CloudRefusedError):
        nowhere.put_bytes("key", b"content")
    with pytest.raises(CloudRefusedError):
        nowhere.put_file("key", file_of(LARGE), len(LARGE))
    with pytest.raises(CloudRefusedError):
        nowhere.send_message("body")


def test_what_may_work_later_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, f"http://{LOOPBACK}:{free_port()}")
    away = AwsCloud(bucket="bucket", queue_url="http://queue", connections=4)
    with pytest.raises(CloudUnavailableError):
        away.put_bytes("key", b"content")
    with pytest.raises(CloudUnavailableError):
        away.put_file("key", file_of(LARGE), len(LARGE))
    with pytest.raises(CloudUnavailableError):
        away.send_message("body")


def test_a_server_that_takes_an_object_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        environment(monkeypatch, f"http://{LOOPBACK}:{silent.getsockname()[1]}")
        monkeypatch.setattr("receiver.aws._ANSWER_SECONDS", 0.5)
        cloud = AwsCloud(bucket="bucket", queue_url="http://queue", connections=1)
        began = time.monotonic()
        with pytest.raises(CloudUnavailableError, match="PutObject failed"):
            cloud.put_bytes("instances/1", b"x" * 512 * 1024)
        assert time.monotonic() - began < 10


def test_without_a_region_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, f"http://{LOOPBACK}:1")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(CloudRefusedError, match="Set AWS_REGION"):
        AwsCloud(bucket="bucket", queue_url="http://queue", connections=4)
