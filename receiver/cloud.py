"""What the receiver asks of the cloud. `receiver/aws.py` is AWS; tests have a fake that passes the same contract test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import IO, Protocol

SMALL_MAX_BYTES = 768 * 1024
"""Up to this an object is held whole while it is uploaded; a larger one is read as it is sent. Most objects are small."""


class CloudError(Exception):
    """The cloud did not do what was asked. The text is safe to log."""


class CloudUnavailableError(CloudError):
    """It may work later: no connection, throttling, a fault of the service."""


class CloudRefusedError(CloudError):
    """It will not work until someone changes something: no permission, no bucket, no queue. The data is kept meanwhile."""


class ContentDiffersError(CloudError):
    """The key is taken by other content. Never overwritten; keys follow from what they hold, so this is a fault of ours."""


class Cloud(Protocol):
    """A bucket and a queue. Safe to call from several threads. Every method raises CloudError.

    `put_bytes` and `put_file` create the key or find it there with the same content, which is success; S3 verifies a checksum
    of what it got.
    """

    def put_bytes(self, key: str, content: bytes) -> None:
        """Put a small object."""

    def put_file(self, key: str, open_file: Callable[[], IO[bytes]], size_bytes: int) -> None:
        """Put an object of any size, within bounded memory."""

    def replace(self, key: str, content: bytes) -> datetime:
        """Put a small object in the place of what may be there. Returns the time by S3's clock, in whole seconds."""

    def send_message(self, body: str) -> None:
        """Send a message to the edge's queue."""
