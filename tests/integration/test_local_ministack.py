"""The AWS emulator listens where it says, and keeps S3 objects through kill -9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.ministack import MiniStack
from local.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from local.aws import Aws


def test_objects_survive_kill_9(tmp_path: Path) -> None:
    emulator = MiniStack.start(tmp_path, free_port())
    try:
        emulator.aws.s3.create_bucket(Bucket="kept")
        emulator.aws.s3.put_object(Bucket="kept", Key="a/b", Body=b"bytes")
    finally:
        emulator.process.kill()
    with MiniStack.start(tmp_path, free_port()) as again:
        assert again.aws.s3.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"bytes"


def test_queue_urls_name_the_address_that_is_listened_on(aws: Aws) -> None:
    url = aws.sqs.create_queue(QueueName="addressed")["QueueUrl"]
    assert url.startswith(aws.endpoint_url)
