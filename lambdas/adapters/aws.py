"""S3, SQS, SNS, Step Functions and Secrets Manager, with their failures as ours.

The only module of `lambdas` that imports boto3 and obstore.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3
import obstore
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

from lambdas.errors import StorageNotFoundError, StorageRefusedError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from obstore import GetOptions

_log = logging.getLogger(__name__)

READS_AT_ONCE = 16
"""How many ranged GETs of one function run side by side: enough to hide S3's latency, and connections for all of them."""

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 5, "mode": "standard"},
    max_pool_connections=READS_AT_ONCE,
)
_COPYING = TransferConfig(multipart_threshold=5 * 10**9, multipart_chunksize=10**9, use_threads=False)
_NOT_FOUND = {"NoSuchKey", "NoSuchVersion", "404", "NotFound", "ResourceNotFoundException", "ExecutionDoesNotExist"}
_THROTTLED = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
}


_QUICK_TIMEOUT_SECONDS = 10.0
"""Of a range by obstore, from asking to its last byte; boto3, which asks then, waits longer."""
_CREDENTIALS_TTL = timedelta(minutes=5)  # less than what botocore's credentials are still good for when it hands them out


class Storage:
    """Objects in S3. Safe to share between threads.

    Ranges, of which indexing reads one and more an object, go by obstore: a fifth of boto3's processor time. It asks once;
    whatever it cannot do boto3 does, with its retries and its names for what is wrong.
    """

    def __init__(
        self, session: boto3.Session | None = None, *, endpoint_url: str | None = None, config: Config = _CONFIG
    ) -> None:
        self._session = session or boto3.Session()
        self._client: S3Client = self._session.client("s3", endpoint_url=endpoint_url, config=config)
        self._stores: dict[str, S3Store] = {}
        self._making_store = Lock()

    def read(self, bucket: str, key: str) -> bytes:
        """A whole object. Raises StorageNotFoundError, StorageUnavailableError, StorageRefusedError."""
        with _named("s3:GetObject"):
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def read_range(self, bucket: str, key: str, first: int, count: int, *, version_id: str | None = None) -> bytes:
        """At most `count` bytes from `first`, of a version when it is given; fewer at the object's end, none beyond it.

        Raises as `read`.
        """
        try:
            return self._read_range_quickly(bucket, key, first, count, version_id)
        except (BaseError, OSError, ValueError) as error:
            content = self._read_range(bucket, key, first, count, version_id)
            _log.warning("boto3 read a range that obstore could not: %s", type(error).__name__)
            return content

    def _read_range_quickly(self, bucket: str, key: str, first: int, count: int, version_id: str | None) -> bytes:
        """Raises BaseError, OSError, and ValueError for a key that obstore would not take as it is."""
        if key != key.strip("/"):
            raise ValueError
        options: GetOptions = {"range": (first, first + count)}
        if version_id is not None:
            options["version"] = version_id
        return bytes(obstore.get(self._store(bucket), key, options=options).bytes())

    def _store(self, bucket: str) -> S3Store:
        with self._making_store:
            if bucket not in self._stores:
                endpoint = self._client.meta.endpoint_url
                self._stores[bucket] = S3Store(
                    bucket,
                    config={"region": self._client.meta.region_name, "endpoint": endpoint},
                    client_options={
                        "allow_http": endpoint.startswith("http:"),
                        "connect_timeout": "5s",
                        "timeout": timedelta(seconds=_QUICK_TIMEOUT_SECONDS),
                        "user_agent": f"obstore app/{os.environ.get('AWS_SDK_UA_APP_ID', 'ahi-ingest')}",
                    },
                    retry_config={"max_retries": 0},
                    credential_provider=Boto3CredentialProvider(self._session, ttl=_CREDENTIALS_TTL),
                )
            return self._stores[bucket]

    def _read_range(self, bucket: str, key: str, first: int, count: int, version_id: str | None) -> bytes:
        where: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key, "Range": f"bytes={first}-{first + count - 1}"}
        if version_id is not None:
            where["VersionId"] = version_id
        with _named("s3:GetObject"):
            try:
                answer = self._client.get_object(**where)
            except ClientError as error:
                if error.response["Error"]["Code"] == "InvalidRange":  # also what an empty object answers
                    return b""
                raise
            return answer["Body"].read()

    def copy(self, bucket: str, key: str, copy_key: str) -> None:
        """Copy an object within its bucket; one of over 5 GB in parts, as S3 asks for. Raises as `read`."""
        with _named("s3:CopyObject"):
            self._client.copy({"Bucket": bucket, "Key": key}, bucket, copy_key, Config=_COPYING)

    def folders(self, bucket: str, prefix: str, first: str = "") -> Iterator[str]:
        """The names of the folders directly below `prefix`, from the name `first` on. Raises as `read`."""
        with _named("s3:ListObjectsV2"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, Delimiter="/", StartAfter=prefix + first
            )
            for page in pages:
                for folder in page.get("CommonPrefixes", []):
                    yield folder["Prefix"].removeprefix(prefix).rstrip("/")

    def last_modified(self, bucket: str, prefix: str) -> datetime | None:
        """When the latest was written of the first thousand objects below `prefix`, or None. Raises as `read`."""
        with _named("s3:ListObjectsV2"):
            found = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return max((item["LastModified"] for item in found), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What DescribeExecution tells. `error` is empty unless it failed by name; `stopped_at` is None while it runs."""

    arn: str
    status: str
    redrive_count: int
    error: str
    input: dict[str, Any]
    stopped_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedExecution:
    """What ListExecutions tells."""

    arn: str
    name: str
    status: str
    stopped_at: datetime | None


class Executions:
    """Executions of state machines."""

    def __init__(self, client: SFNClient | None = None) -> None:
        self._client = client or boto3.client("stepfunctions", config=_CONFIG)

    def start(self, state_machine_arn: str, name: str, document: dict[str, Any]) -> str | None:
        """Start an execution; its ARN, or None when one of this name exists: StartExecution is idempotent by name and input
        while that runs, and answers ExecutionAlreadyExists for 90 days after it ended, or to another input.

        Raises StorageUnavailableError, StorageRefusedError.
        """
        with _named("states:StartExecution"):
            try:
                answer = self._client.start_execution(
                    stateMachineArn=state_machine_arn, name=name, input=json.dumps(document, separators=(",", ":"))
                )
            except self._client.exceptions.ExecutionAlreadyExists:
                return None
            return answer["executionArn"]

    def describe(self, execution_arn: str) -> Execution | None:
        """The execution as it is now; None when Step Functions does not know it (any more). Raises as `start`."""
        with _named("states:DescribeExecution"):
            try:
                answer = self._client.describe_execution(executionArn=execution_arn)
            except self._client.exceptions.ExecutionDoesNotExist:
                return None
        document = json.loads(answer.get("input") or "{}")
        return Execution(
            arn=execution_arn,
            status=answer["status"],
            redrive_count=answer.get("redriveCount", 0),
            error=answer.get("error", ""),
            input=document if isinstance(document, dict) else {},
            stopped_at=answer.get("stopDate"),
        )

    def running(self, state_machine_arn: str) -> set[str]:
        """The ARNs of the machine's executions that run, as of a moment ago. Raises as `start`."""
        pages = self._client.get_paginator("list_executions").paginate(
            stateMachineArn=state_machine_arn, statusFilter="RUNNING"
        )
        with _named("states:ListExecutions"):
            return {one["executionArn"] for page in pages for one in page["executions"]}

    def latest(self, state_machine_arn: str) -> list[ListedExecution]:
        """The 100 executions of the machine that were started, redriven or ended last, latest first. Raises as `start`."""
        with _named("states:ListExecutions"):
            found = self._client.list_executions(stateMachineArn=state_machine_arn, maxResults=100)["executions"]
        return [
            ListedExecution(arn=one["executionArn"], name=one["name"], status=one["status"], stopped_at=one.get("stopDate"))
            for one in found
        ]


def execution_arn(state_machine_arn: str, name: str) -> str:
    """The ARN of a machine's execution of that name."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


class Topic:
    """A topic of SNS that people and alarms listen to."""

    def __init__(self, topic_arn: str, client: SNSClient | None = None) -> None:
        self._topic_arn = topic_arn
        self._client = client or boto3.client("sns", config=_CONFIG)

    def publish(self, subject: str, message: dict[str, Any]) -> None:
        """Tell `message` as JSON. Raises as `Executions.start`."""
        with _named("sns:Publish"):
            self._client.publish(TopicArn=self._topic_arn, Subject=subject[:100], Message=json.dumps(message))


class Queues:
    """Messages that a Lambda was handed by SQS."""

    def __init__(self, client: SQSClient | None = None) -> None:
        self._client = client or boto3.client("sqs", config=_CONFIG)

    def give_back(self, queue_arn: str, receipt_handle: str) -> None:
        """Let the queue deliver a message again now, not after its visibility timeout. Raises as `Executions.start`."""
        account, name = queue_arn.split(":")[4:6]
        with _named("sqs:ChangeMessageVisibility"):
            url = self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
            self._client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt_handle, VisibilityTimeout=0)


def read_secret(secret_arn: str, client: SecretsManagerClient | None = None) -> str:
    """A secret's text. Raises StorageUnavailableError, StorageRefusedError, StorageNotFoundError."""
    client = client or boto3.client("secretsmanager", config=_CONFIG)
    with _named("secretsmanager:GetSecretValue"):
        return client.get_secret_value(SecretId=secret_arn)["SecretString"]


def database_token(host: str, port: int, user: str, client: RDSClient | None = None) -> str:
    """A password for a connect by IAM within 15 minutes; signed here, without a request. Raises StorageUnavailableError."""
    client = client or boto3.client("rds", config=_CONFIG)
    with _named("rds-db:connect"):
        return client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)


@contextmanager
def _named(action: str) -> Iterator[None]:
    """Turns botocore's errors into ours. Its texts may quote a request, so only the code is told."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _NOT_FOUND:
            raise StorageNotFoundError(f"{action}: {code}") from None
        if status >= 500 or status == 429 or code in _THROTTLED:
            raise StorageUnavailableError(f"{action}: {code}, after retries") from None
        raise StorageRefusedError(f"{action}: {code}") from None
    except BotoCoreError as error:
        raise StorageUnavailableError(f"{action}: {type(error).__name__}, after retries") from None
