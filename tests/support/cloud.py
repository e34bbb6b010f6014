"""A cloud in memory, which passes the same contract test as AWS (tests/integration/test_receiver_cloud.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

from receiver.cloud import CloudError, ContentDiffersError


class FakeCloud:
    """`receiver.cloud.Cloud`. `failure`, while set, is raised by every call."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.failure: CloudError | None = None
        self.failed_calls = 0
        self._lock = threading.Lock()

    def put_bytes(self, key: str, content: bytes) -> None:
        with self._lock:
            self._fail()
            if self.objects.setdefault(key, content) != content:
                raise ContentDiffersError(f"{key} exists with other content")

    def put_file(self, key: str, open_file: Callable[[], IO[bytes]], size_bytes: int) -> None:
        with open_file() as file:
            content = file.read()
        assert len(content) == size_bytes
        self.put_bytes(key, content)

    def replace(self, key: str, content: bytes) -> datetime:
        with self._lock:
            self._fail()
            self.objects[key] = content
        return datetime.now(UTC).replace(microsecond=0)

    def send_message(self, body: str) -> None:
        with self._lock:
            self._fail()
            self.messages.append(body)

    def _fail(self) -> None:
        if self.failure is not None:
            self.failed_calls += 1
            raise self.failure
