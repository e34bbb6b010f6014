"""Reads everything below a job's prefix in S3: which objects can be imported, and why the others cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local.healthimaging.causes import FileRefusedError, FileWarning
from local.healthimaging.headers import Header, read_header
from local.healthimaging.outputs import FileFailure
from local.healthimaging.pixels import pixel_warnings
from local.healthimaging.ranges import RangeReader, S3ReadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client

    from local.healthimaging.faults import Faults
    from local.healthimaging.settings import Settings

_FIRST_READ_BYTES = 64 * 1024
_READ_GROWTH = 16
_READERS = 8

# AWS documents the first word of the first; the rest of the texts are ours.
_FILE_COUNTS_LIMIT = "FILE_COUNTS_LIMIT: The number of files exceeds the limit of {limit} files per import job."
_FILE_SIZE_LIMIT = "FILE_SIZE_LIMIT: The size of all files exceeds the limit of {limit} bytes per import job."
_FOLDER_COUNTS_LIMIT = "FOLDER_COUNTS_LIMIT: The number of folders exceeds the limit of {limit} folders per import job."


class JobFailedError(Exception):
    """The job as a whole cannot be done. The text is the second line of the job's message."""


@dataclass(frozen=True)
class Scan:
    """What was found, in the order of the keys."""

    headers: Sequence[Header]
    failures: Sequence[FileFailure]


def scan(s3: S3Client, input_uri: str, faults: Faults, settings: Settings) -> Scan:
    """Read the header of every object below `input_uri`.

    The prefix is taken as S3 takes it, so without a trailing slash it matches more than a folder (undocumented).
    Raises JobFailedError over the service's limits or when the bucket cannot be read, BotoCoreError when S3 is away.
    """
    bucket, prefix = split_uri(input_uri)
    objects = _list(s3, bucket, prefix, settings)

    with RangeReader(s3, bucket) as reader, ThreadPoolExecutor(_READERS, thread_name_prefix="scan") as readers:
        results = list(readers.map(lambda item: _read_or_fail(reader, item[0], item[1], faults, settings), objects))
    return Scan(
        [result for result in results if isinstance(result, Header)],
        [result for result in results if isinstance(result, FileFailure)],
    )


def split_uri(uri: str) -> tuple[str, str]:
    """(bucket, key or prefix) of an S3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _list(s3: S3Client, bucket: str, prefix: str, settings: Settings) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    total_bytes = 0
    folders: set[str] = set()
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                if item["Key"].endswith("/") and item["Size"] == 0:
                    continue  # what consoles write to show an empty folder
                found.append((item["Key"], item["Size"]))
                total_bytes += item["Size"]
                folders.add(item["Key"].rpartition("/")[0])
            if len(found) > settings.job_max_files:
                raise JobFailedError(_FILE_COUNTS_LIMIT.format(limit=settings.job_max_files))
    except ClientError as error:
        raise JobFailedError("The input bucket could not be listed") from error
    if total_bytes > settings.job_max_bytes:
        raise JobFailedError(_FILE_SIZE_LIMIT.format(limit=settings.job_max_bytes))
    if len(folders) > settings.job_max_folders:
        raise JobFailedError(_FOLDER_COUNTS_LIMIT.format(limit=settings.job_max_folders))
    return found


def _read_or_fail(reader: RangeReader, key: str, size_bytes: int, faults: Faults, settings: Settings) -> Header | FileFailure:
    fault = faults.of_file(key)
    if fault in {"server", "customer"}:
        exception = "InternalServerException" if fault == "server" else "ValidationException"
        return FileFailure(key, exception, "This failure was asked for by a test")
    try:
        header = _read(reader, key, size_bytes, settings)
    except FileRefusedError as error:
        return FileFailure(key, "ValidationException", str(error))
    except (S3ReadError, OSError):
        return FileFailure(key, "InternalServerException", "The object could not be read")
    asked = () if fault is None else (FileWarning(fault, "This warning was asked for by a test"),)
    return replace(header, warnings=(*header.warnings, *asked))


def _read(reader: RangeReader, key: str, size_bytes: int, settings: Settings) -> Header:
    """Read as much of the object as its header takes: nearly always the first range is enough."""
    if size_bytes > settings.file_max_bytes:
        raise FileRefusedError(f"The file is larger than {settings.file_max_bytes} bytes")
    if size_bytes == 0:
        raise FileRefusedError("DICOM attributes does not exist")
    read_bytes = _FIRST_READ_BYTES
    while True:
        beginning = reader.read(key, read_bytes)
        header = read_header(key, beginning, whole=read_bytes >= size_bytes)
        if header is not None:
            break
        read_bytes *= _READ_GROWTH
    if header.pixel_data is None:
        return header
    window = _Window(reader, key, size_bytes, beginning)
    found = pixel_warnings(header.pixel_data, header.instance, header.transfer_syntax_uid, size_bytes, window.read)
    return replace(header, warnings=(*header.warnings, *found))


class _Window:
    """The part of an object that was read last: fragments are often small, and a request is dear."""

    def __init__(self, reader: RangeReader, key: str, size_bytes: int, beginning: bytes) -> None:
        self._reader = reader
        self._key = key
        self._size_bytes = size_bytes
        self._first, self._content = 0, beginning

    def read(self, first: int, count: int) -> bytes:
        """`count` bytes from `first` on, or as many as there are. Raises as RangeReader does."""
        last = min(first + count, self._size_bytes)
        if first >= last:
            return b""
        if not self._first <= first <= last <= self._first + len(self._content):
            self._first, self._content = first, self._reader.read(self._key, max(count, _FIRST_READ_BYTES), first=first)
        return self._content[first - self._first : last - self._first]
