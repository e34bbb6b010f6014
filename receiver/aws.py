"""S3, SQS and one function of Lambda. The only module of the receiver that imports boto3 and obstore.

Small objects go by obstore, which costs a tenth of boto3's processor time: one PUT with `If-None-Match: *` and a SHA-256 that
S3 verifies. obstore cannot combine `If-None-Match` with a multipart upload, so large objects go by boto3: each part with a
CRC-32 that S3 verifies, then CompleteMultipartUpload with `If-None-Match: *`, whose checksum of the whole is compared.
Neither client retries: the uploader does, and knows when to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from contract.commitment import ImportAnswer, ImportQuestion, ImportResult, SentObject
from contract.strict import ContractError, from_json, to_json
from receiver.cloud import CloudError, CloudRefusedError, CloudUnavailableError, ContentDiffersError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, HeadObjectOutputTypeDef
    from obstore.store import S3Config

SINGLE_PUT_MAX_BYTES = 8 * 1024 * 1024
"""Above this an object goes in parts of this size, so that `upload workers x this` bounds the memory of uploads."""

_TIMEOUT_SECONDS = 600.0
"""Of a whole PUT, so that eight of 8 MiB at once may share a line of 1 Mbit/s. obstore knows no limit for silence alone: its
read timeout runs while a body is sent."""
_QUICK_MAX_BYTES, _QUICK_TIMEOUT_SECONDS = 768 * 1024, 60.0
"""What most objects are; the same pace. A connection that died in silence is noticed in this time."""

_PARTS_MAX = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_TRANSIENT = frozenset(
    ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "ConditionalRequestConflict")
)
_CREDENTIALS_TTL = timedelta(minutes=5)  # less than what botocore's credentials are still good for when it hands them out


class _Encryption(TypedDict, total=False):
    """Arguments of CreateMultipartUpload."""

    ServerSideEncryption: Literal["aws:kms"]
    SSEKMSKeyId: str


class AwsCloud:
    """`receiver.cloud.Cloud` on AWS. Credentials, region and endpoint come from the standard AWS_* variables.

    See https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html.
    """

    def __init__(self, *, bucket: str, queue_url: str, connections: int, kms_key_id: str = "") -> None:
        """`kms_key_id`: the KMS key that S3 encrypts with (SSE-KMS); empty for what the bucket does by default.

        Raises CloudRefusedError when there is no region, or there are no credentials.
        """
        self._bucket, self._queue_url = bucket, queue_url
        self._encryption: _Encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))  # which boto3 leaves to the other SDKs
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=connections,
        )
        try:
            self._s3 = session.client("s3", config=config)
            self._sqs = session.client("sqs", config=config)
            credentials = Boto3CredentialProvider(session, ttl=_CREDENTIALS_TTL)
        except (BotoCoreError, ValueError) as error:
            raise CloudRefusedError(
                f"AWS cannot be used ({type(error).__name__}). Set AWS_REGION, and credentials as the AWS SDKs take them."
            ) from None
        endpoint = self._s3.meta.endpoint_url
        store: S3Config = {"region": self._s3.meta.region_name, "endpoint": endpoint, "checksum_algorithm": "SHA256"}
        if kms_key_id:
            store |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": kms_key_id}

        def store_with(timeout_seconds: float) -> S3Store:
            return S3Store(
                bucket,
                config=store,
                client_options={
                    "allow_http": endpoint.startswith("http:"),
                    "connect_timeout": "5s",
                    "timeout": timedelta(seconds=timeout_seconds),
                },
                retry_config={"max_retries": 0},
                credential_provider=credentials,
            )

        self._quick_store, self._store = store_with(_QUICK_TIMEOUT_SECONDS), store_with(_TIMEOUT_SECONDS)

    def put_bytes(self, key: str, content: bytes) -> None:
        try:
            store = self._quick_store if len(content) <= _QUICK_MAX_BYTES else self._store
            obstore.put(store, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            head = self._head(key)
            if head.get("ChecksumSHA256") != _base64(hashlib.sha256(content).digest()):
                raise ContentDiffersError(f"{key} exists with other content") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise CloudRefusedError(f"PutObject refused: AccessDenied ({type(error).__name__})") from None
        except FileNotFoundError:
            raise CloudRefusedError("PutObject refused: NoSuchBucket") from None
        except (BaseError, OSError) as error:
            raise CloudUnavailableError(f"PutObject failed: {type(error).__name__}") from None

    def put_file(self, key: str, open_file: Callable[[], IO[bytes]], size_bytes: int) -> None:
        if size_bytes <= SINGLE_PUT_MAX_BYTES:
            with open_file() as file:
                content = file.read()
            self.put_bytes(key, content)
            return
        part_bytes = max(SINGLE_PUT_MAX_BYTES, -(-size_bytes // _PARTS_MAX))
        if self._has(key, open_file, part_bytes):  # from before a crash, or from an upload whose answer was lost
            return
        with _translated("multipart upload"):
            upload_id = self._s3.create_multipart_upload(
                Bucket=self._bucket, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **self._encryption
            )["UploadId"]
            try:
                self._put_parts(key, upload_id, open_file, part_bytes)
            except BaseException:
                with contextlib.suppress(ClientError, BotoCoreError):  # what stays is the bucket's lifecycle rule's
                    self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
                raise

    def replace(self, key: str, content: bytes) -> datetime:
        with _translated("PutObject"):
            answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, **self._encryption)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def send_message(self, body: str) -> None:
        with _translated("SendMessage"):
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=body)

    def _put_parts(self, key: str, upload_id: str, open_file: Callable[[], IO[bytes]], part_bytes: int) -> None:
        parts: list[CompletedPartTypeDef] = []
        size_bytes, checksum = 0, _Checksum()
        with open_file() as file:
            for number, content in enumerate(_parts(file, part_bytes), 1):
                size_bytes, own = size_bytes + len(content), checksum.add(content)
                part = self._s3.upload_part(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=content,
                    ChecksumCRC32=own,
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": own})
        try:
            stored: Any = self._s3.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                MpuObjectSize=size_bytes,
                IfNoneMatch="*",
            )
        except ClientError as error:
            if _status(error) != 412:
                raise
            stored = self._head(key)
            if stored.get("ChecksumCRC32") not in checksum.right:
                raise ContentDiffersError(f"{key} exists with other content") from None
            with contextlib.suppress(ClientError, BotoCoreError):
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        if stored.get("ChecksumCRC32") not in checksum.right:
            raise ContentDiffersError(f"{key} was stored with another checksum than it was sent with")

    def _has(self, key: str, open_file: Callable[[], IO[bytes]], part_bytes: int) -> bool:
        """Whether a large object is in S3 already. Raises ContentDiffersError when the key holds another."""
        try:
            stored = self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except (ClientError, BotoCoreError):  # not there, most likely; whatever else it is, the upload says
            return False
        checksum = _Checksum()
        with open_file() as file:
            for content in _parts(file, part_bytes):
                checksum.add(content)
        if stored.get("ChecksumCRC32") not in checksum.right:
            raise ContentDiffersError(f"{key} exists with other content")
        return True

    def _head(self, key: str) -> HeadObjectOutputTypeDef:
        with _translated("HeadObject"):
            return self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")


class ImportFunction:
    """`receiver.commitment.imports.ImportService`: a Lambda function that answers for this edge. Made for whoever asks it."""

    def __init__(self, name: str) -> None:
        """`name` or ARN of the function, which answers within 60 s. Raises CloudRefusedError when there is no region."""
        config = Config(connect_timeout=5, read_timeout=65, retries={"total_max_attempts": 1, "mode": "standard"})
        try:
            self._lambda = boto3.Session(region_name=os.environ.get("AWS_REGION")).client("lambda", config=config)
        except (BotoCoreError, ValueError) as error:
            raise CloudRefusedError(f"AWS cannot be used ({type(error).__name__}). Set AWS_REGION.") from None
        self._name = name

    def results(self, objects: Sequence[SentObject]) -> Sequence[ImportResult]:
        """Raises CloudError."""
        question = to_json(ImportQuestion(objects=tuple(objects)))
        with _translated("Invoke"):
            answer = self._lambda.invoke(FunctionName=self._name, Payload=question)
            payload = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise CloudUnavailableError("Invoke failed: the function raised an error; its log says which")
        try:
            results = from_json(ImportAnswer, payload).results
        except ContractError as error:
            raise CloudRefusedError(f"Invoke gave an answer that is none: {error}") from None
        if len(results) != len(objects):
            raise CloudRefusedError("Invoke gave an answer to other objects than were asked about")
        return results


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """boto3's exceptions as ours."""
    try:
        yield
    except CloudError:
        raise
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        transient = code in _TRANSIENT or _status(error) >= 500 or _status(error) == 429
        raise (CloudUnavailableError if transient else CloudRefusedError)(f"{what} failed: {code}") from None
    except BotoCoreError as error:
        raise CloudUnavailableError(f"{what} failed: {type(error).__name__}") from None


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


class _Checksum:
    """CRC-32 of an object that is sent in parts."""

    def __init__(self) -> None:
        self._whole, self._parts = 0, b""

    def add(self, content: bytes) -> str:
        """The next part; returns its own checksum."""
        self._whole = zlib.crc32(content, self._whole)
        own = _crc32(zlib.crc32(content))
        self._parts += own
        return _base64(own)

    @property
    def right(self) -> set[str]:
        """What S3 may say of the whole. The emulator knows checksums of checksums (COMPOSITE) only, asked for or not."""
        composite = f"{_base64(_crc32(zlib.crc32(self._parts)))}-{len(self._parts) // 4}"
        return {_base64(_crc32(self._whole)), composite}


def _parts(file: IO[bytes], part_bytes: int) -> Iterator[bytes]:
    while content := _read_fully(file, part_bytes):
        yield content


def _read_fully(file: IO[bytes], count: int) -> bytes:
    content = bytearray()
    while len(content) < count and (more := file.read(count - len(content))):
        content += more
    return bytes(content)


def _crc32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
