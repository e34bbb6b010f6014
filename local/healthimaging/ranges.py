"""Reads the beginnings of many S3 objects fast: presigned requests over kept connections.

A job reads up to 5,000 headers, and an SDK call costs several times the CPU of the request itself.
"""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TIMEOUT_SECONDS = 60
_URL_SECONDS = 600


class S3ReadError(Exception):
    """S3 did not answer with the object."""


class RangeReader:
    """For the threads of one scan; each keeps a connection of its own. A context manager: its end closes them."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._own = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()

    def read(self, key: str, size_bytes: int, *, first: int = 0) -> bytes:
        """The object's bytes from `first` on, at most `size_bytes` of them. Raises S3ReadError, OSError when S3 is away."""
        url = urlsplit(
            self._s3.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_URL_SECONDS)
        )
        target = f"{url.path}?{url.query}"
        headers = {"Range": f"bytes={first}-{first + size_bytes - 1}"}
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT_SECONDS)
            self._all.append(connection)
        try:
            try:
                return self._get(connection, target, headers)
            except (http.client.HTTPException, OSError):
                connection.close()  # S3 may have closed it while it was idle: once more, which opens it anew
                return self._get(connection, target, headers)
        except http.client.HTTPException as error:
            raise S3ReadError(type(error).__name__) from error

    @staticmethod
    def _get(connection: http.client.HTTPConnection, target: str, headers: dict[str, str]) -> bytes:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in {200, 206}:
            raise S3ReadError(f"S3 answered {answer.status}")
        return body
