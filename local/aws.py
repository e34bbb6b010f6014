"""The AWS clients of the local stack, all against one endpoint on loopback. The only module of `local` that imports boto3."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.model import ServiceModel
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_medical_imaging import HealthImagingClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

REGION = "us-east-1"
ACCOUNT = "000000000000"
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 - the emulator accepts any credentials


class Aws:
    """Clients for the emulator at `endpoint_url`, made when first used and kept; safe to share between threads."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.session = boto3.Session(
            aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
        )
        self._config = Config(
            connect_timeout=5,
            read_timeout=900,  # a Lambda may run for 15 minutes
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=50,
            s3={"addressing_style": "path"},
        )

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        return self.session.client("cloudformation", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def events(self) -> EventBridgeClient:
        return self.session.client("events", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def functions(self) -> LambdaClient:
        return self.session.client("lambda", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def medical_imaging(self) -> HealthImagingClient:
        """`endpoint_url` is the HealthImaging emulator's here; its host has no `runtime-` prefix, unlike AWS's."""
        config = self._config.merge(Config(inject_host_prefix=False))
        return self.session.client("medical-imaging", endpoint_url=self.endpoint_url, config=config)

    @cached_property
    def s3(self) -> S3Client:
        return self.session.client("s3", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        return self.session.client("secretsmanager", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def sqs(self) -> SQSClient:
        return self.session.client("sqs", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def ssm(self) -> SSMClient:
        return self.session.client("ssm", endpoint_url=self.endpoint_url, config=self._config)

    @cached_property
    def stepfunctions(self) -> SFNClient:
        """`endpoint_url` is our engine's, or the AWS emulator's, which holds definitions but does not run them here."""
        return self.session.client("stepfunctions", endpoint_url=self.endpoint_url, config=self._config)


@lru_cache(maxsize=4)
def service_model(service: str) -> ServiceModel:
    """The API of an AWS service as the SDK describes it: operations, members, types."""
    return botocore.session.get_session().get_service_model(service)
