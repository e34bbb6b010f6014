"""S3, SQS and one function of Lambda. The only module of the receiver that imports boto3 and obstore.

Small objects go by obstore, which costs a tenth of boto3's processor time: one PUT with `If-None-Match: *` and a SHA-256 that
S3 verifies. obstore holds an object whole, and knows no limit for silence alone. So larger ones go by boto3, read from the file
as they are sent: above 8 MiB in parts, each with a CRC-32 that S3 verifies, then CompleteMultipartUpload with
`If-None-Match: *`, whose checksum of the whole is compared. A multipart upload that an outage broke off goes on with the part
that failed. Neither client retries: the uploader does, and knows when to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict, cast

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from contract.commitment import ImportAnswer, ImportQuestion, ImportResult, SentObject
from contract.strict import ContractError, from_json, to_json
from receiver.cloud import SMALL_MAX_BYTES, CloudError, CloudRefusedError, CloudUnavailableError, ContentDiffersError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef
    from obstore.store import S3Config

PART_BYTES = 8 * 1024 * 1024
"""Above this an object goes in parts of this size."""

_ANSWER_SECONDS = 60.0
"""The longest wait for an answer. With obstore it is the limit of a whole PUT: eight small objects may share 1 Mbit/s."""
_STALL_SECONDS = 20.0
"""How long a connection may take to be made, or to take the next piece of a body: a line that loses packets needs some."""
_PIECE_BYTES = 64 * 1024

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
            connect_timeout=_STALL_SECONDS,
            read_timeout=_ANSWER_SECONDS,
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

        self._store = S3Store(
            bucket,
            config=store,
            client_options={
                "allow_http": endpoint.startswith("http:"),
                "connect_timeout": timedelta(seconds=_STALL_SECONDS),
                "timeout": timedelta(seconds=_ANSWER_SECONDS),
            },
            retry_config={"max_retries": 0},
            credential_provider=credentials,
        )
        self._broken_off: dict[str, _Multipart] = {}  # by key

    def put_bytes(self, key: str, content: bytes) -> None:
        if len(content) > SMALL_MAX_BYTES:
            self.put_file(key, lambda: io.BytesIO(content), len(content))
            return
        try:
            obstore.put(self._store, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            self._compare(key, "ChecksumSHA256", {_base64(hashlib.sha256(content).digest())})
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise CloudRefusedError(f"PutObject refused: AccessDenied ({type(error).__name__})") from None
        except FileNotFoundError:
            raise CloudRefusedError("PutObject refused: NoSuchBucket") from None
        except (BaseError, OSError) as error:
            raise CloudUnavailableError(f"PutObject failed: {type(error).__name__}") from None

    def put_file(self, key: str, open_file: Callable[[], IO[bytes]], size_bytes: int) -> None:
        with open_file() as file:
            if size_bytes <= SMALL_MAX_BYTES:
                self.put_bytes(key, file.read())
            elif size_bytes <= PART_BYTES:
                self._put_whole(key, _Section(file, 0, size_bytes))
            else:
                self._put_in_parts(key, file, size_bytes)

    def replace(self, key: str, content: bytes) -> datetime:
        with _translated("PutObject"):
            answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, **self._encryption)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def send_message(self, body: str) -> None:
        with _translated("SendMessage"):
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=body)

    def _put_whole(self, key: str, section: _Section) -> None:
        checksum, body = section.sha256(), cast("IO[bytes]", section)
        with _translated("PutObject"):
            try:
                self._s3.put_object(
                    Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum, **self._encryption
                )
            except ClientError as error:
                if _status(error) != 412:
                    raise
                self._compare(key, "ChecksumSHA256", {checksum})

    def _put_in_parts(self, key: str, file: IO[bytes], size_bytes: int) -> None:
        part_bytes = max(PART_BYTES, -(-size_bytes // _PARTS_MAX))
        sections = [_Section(file, at, min(part_bytes, size_bytes - at)) for at in range(0, size_bytes, part_bytes)]
        upload = self._broken_off.pop(key, None)
        if upload is None:
            if self._has(key, sections):  # from before a crash, or from an upload whose answer was lost
                return
            with _translated("CreateMultipartUpload"):
                upload_id = self._s3.create_multipart_upload(
                    Bucket=self._bucket, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **self._encryption
                )["UploadId"]
            upload = _Multipart(upload_id)
        try:
            with _translated("multipart upload"):
                self._send(key, upload, sections)
        except CloudUnavailableError:
            self._broken_off[key] = upload
            raise
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError):  # what stays is the bucket's lifecycle rule's
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload.upload_id)
            raise

    def _send(self, key: str, upload: _Multipart, sections: list[_Section]) -> None:
        for section in sections[len(upload.parts) :]:
            checksum = upload.checksum.with_part(section)
            number, own = len(upload.parts) + 1, checksum.of_last_part
            part = self._s3.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=cast("IO[bytes]", section),
                ChecksumCRC32=own,
            )
            upload.parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": own})
            upload.checksum = checksum
        try:
            stored: Any = self._s3.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload.upload_id,
                MultipartUpload={"Parts": upload.parts},
                MpuObjectSize=sum(section.size_bytes for section in sections),
                IfNoneMatch="*",
            )
        except ClientError as error:
            if _status(error) != 412:
                raise
            self._compare(key, "ChecksumCRC32", upload.checksum.right)
            with contextlib.suppress(ClientError, BotoCoreError):
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload.upload_id)
            return
        if stored.get("ChecksumCRC32") not in upload.checksum.right:
            raise ContentDiffersError(f"{key} was stored with another checksum than it was sent with")

    def _has(self, key: str, sections: list[_Section]) -> bool:
        """Whether a large object is in S3 already. Raises ContentDiffersError when the key holds another."""
        try:
            stored = self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except (ClientError, BotoCoreError):  # not there, most likely; whatever else it is, the upload says
            return False
        checksum = _Checksum()
        for section in sections:
            checksum = checksum.with_part(section)
        if stored.get("ChecksumCRC32") not in checksum.right:
            raise ContentDiffersError(f"{key} exists with other content")
        return True

    def _compare(self, key: str, checksum: Literal["ChecksumSHA256", "ChecksumCRC32"], right: set[str]) -> None:
        """Raises ContentDiffersError when a key that exists holds other content, CloudError when S3 does not say."""
        with _translated("HeadObject"):
            stored = self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        if stored.get(checksum) not in right:
            raise ContentDiffersError(f"{key} exists with other content")


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


class _Section:
    """Some bytes of a file, as a body that is read while it is sent. `file` may have other sections, one used at a time."""

    def __init__(self, file: IO[bytes], start: int, size_bytes: int) -> None:
        self._file, self._start, self.size_bytes, self._at = file, start, size_bytes, 0

    def read(self, count: int = -1) -> bytes:
        """Less than `count` when that is much, so that a slow line takes it in time."""
        left = self.size_bytes - self._at
        self._file.seek(self._start + self._at)
        content = self._file.read(min(left, _PIECE_BYTES, left if count < 0 else count))
        self._at += len(content)
        return content

    def seek(self, to: int, whence: int = 0) -> int:
        self._at = to + (0, self._at, self.size_bytes)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def pieces(self) -> Iterator[bytes]:
        self._at = 0
        while piece := self.read():
            yield piece
        self._at = 0

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return _base64(digest.digest())


@dataclass(frozen=True, slots=True)
class _Checksum:
    """CRC-32 of an object that is sent in parts, as far as they are sent."""

    whole: int = 0
    parts: bytes = b""

    def with_part(self, section: _Section) -> _Checksum:
        own, whole = 0, self.whole
        for piece in section.pieces():
            own, whole = zlib.crc32(piece, own), zlib.crc32(piece, whole)
        return _Checksum(whole, self.parts + _crc32(own))

    @property
    def of_last_part(self) -> str:
        return _base64(self.parts[-4:])

    @property
    def right(self) -> set[str]:
        """What S3 may say of the whole. The emulator knows checksums of checksums (COMPOSITE) only, asked for or not."""
        composite = f"{_base64(_crc32(zlib.crc32(self.parts)))}-{len(self.parts) // 4}"
        return {_base64(_crc32(self.whole)), composite}


@dataclass(slots=True)
class _Multipart:
    """A multipart upload: what S3 has of it."""

    upload_id: str
    parts: list[CompletedPartTypeDef] = field(default_factory=list)
    checksum: _Checksum = field(default_factory=_Checksum)


def _crc32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
