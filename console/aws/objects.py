"""Objects in S3: listed, and copied within S3. `lambdas.adapters.aws.Storage` reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from console.aws.told import told

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = {"404", "NoSuchKey", "NotFound"}
_DOWNLOADS_MAX = 5
_BROKE_OFF = (ConnectionClosedError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
_OTHER = {"412", "PreconditionFailed", "ConditionalRequestConflict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """An object as ListObjectsV2 lists it."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class Objects:
    """Objects in S3, beside what `Storage` reads."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def below(self, bucket: str, prefix: str) -> Iterator[StoredKey]:
        """Every object below a prefix, in the order of keys."""
        with told("s3:ListBucket"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield StoredKey(
                        key=item["Key"], size_bytes=item["Size"], etag=item["ETag"], modified_at=item["LastModified"]
                    )

    def folders(self, bucket: str, prefix: str) -> Iterator[str]:
        """The prefixes one `/` below a prefix."""
        with told("s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for page in pages:
                for item in page.get("CommonPrefixes", []):
                    yield item["Prefix"]

    def exists(self, bucket: str, key: str) -> bool:
        with told("s3:GetObject"):
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        return True

    def download(self, bucket: str, key: str, file: IO[bytes]) -> None:
        """The object's bytes into an empty file. Asked for again where the line breaks within, which boto3 does not do."""
        with told("s3:GetObject"):
            for tries_left in reversed(range(_DOWNLOADS_MAX)):
                try:
                    with closing(self._client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
                        shutil.copyfileobj(body, file)
                except _BROKE_OFF:
                    if not tries_left:
                        raise
                    file.seek(0)
                    file.truncate()
                else:
                    return

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Put an object; False when there is one of this key, which is left as it is."""
        with told("s3:PutObject"):
            try:
                self._client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] in _OTHER:
                    return False
                raise
        return True

    def copy(self, bucket: str, key: str, etag: str, target_bucket: str, target: str) -> bool:
        """Copy an object within S3, in parts where it is large; False when it is gone, or not any more of this etag."""
        matching: Any = {"CopySourceIfMatch": etag}
        with told("s3:CopyObject"):
            try:
                self._client.copy({"Bucket": bucket, "Key": key}, target_bucket, target, ExtraArgs=matching)
            except ClientError as error:
                if error.response["Error"]["Code"] in _OTHER | _MISSING:
                    return False
                raise
        return True
