"""The console's AWS: the same calls to AWS and to the local stack. The only package of `console` that imports boto3.

Whom it asks is boto3's usual matter (credentials, profile, region, AWS_ENDPOINT_URL...), or what `ahi-ingest up` wrote.
What the Lambdas' own logic needs of S3 and of Step Functions are their adapters, on these clients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from console.aws.image_sets import ImageSets
from console.aws.import_jobs import ImportJobs
from console.aws.machines import Machines
from console.aws.objects import Objects
from console.aws.queues import Queues
from console.aws.told import told
from lambdas.adapters.aws import Executions, Storage

CALLS_AT_ONCE = 16
"""How many calls of one command run side by side, at most."""

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"total_max_attempts": 5, "mode": "standard"},
    max_pool_connections=CALLS_AT_ONCE,
)
_SMALL_QUOTAS = {"stepfunctions", "medical-imaging"}
"""Services that answer some 5 to 20 calls a second to an account, and are asked once for each of thousands of executions."""
_PATIENT = Config(retries={"total_max_attempts": 15, "mode": "adaptive"})


class Cloud:
    """The clients of one command, made when first used; safe to share between threads."""

    def __init__(self, session: boto3.Session, endpoint_urls: Mapping[str, str]) -> None:
        self._session = session
        self._endpoint_urls = endpoint_urls

    @classmethod
    def of_environment(cls) -> Cloud:
        """AWS, as boto3 is configured."""
        return cls(boto3.Session(), {})

    @classmethod
    def of_endpoints(cls, endpoints: Mapping[str, Any]) -> Cloud:
        """The local stack, by its `endpoints.json`."""
        aws = endpoints["aws"]
        session = boto3.Session(
            aws_access_key_id=aws["access_key_id"], aws_secret_access_key=aws["secret_access_key"], region_name=aws["region"]
        )
        urls = {
            "stepfunctions": endpoints["stepfunctions"]["endpoint_url"],
            "medical-imaging": endpoints["medical_imaging"]["endpoint_url"],
        }
        services = ("s3", "sqs", "cloudwatch")
        return cls(session, urls | dict.fromkeys(services, aws["endpoint_url"]))

    @cached_property
    def machines(self) -> Machines:
        return Machines(self._client("stepfunctions"))

    @cached_property
    def executions(self) -> Executions:
        return Executions(self._client("stepfunctions"))

    @cached_property
    def storage(self) -> Storage:
        with told("s3"):
            return Storage(self._session, endpoint_url=self._endpoint_urls.get("s3"))

    @cached_property
    def objects(self) -> Objects:
        return Objects(self._client("s3"))

    @cached_property
    def queues(self) -> Queues:
        return Queues(self._client("sqs"), self._client("cloudwatch"))

    def image_sets(self, datastore_id: str) -> ImageSets:
        return ImageSets(self._client("medical-imaging"), datastore_id)

    def import_jobs(self, datastore_id: str) -> ImportJobs:
        return ImportJobs(self._client("medical-imaging"), datastore_id)

    def stack_outputs(self, names: Collection[str]) -> dict[str, str]:
        """The outputs of the CloudFormation stacks with these names; of those that are not there, none."""
        outputs: dict[str, str] = {}
        with told("cloudformation:DescribeStacks"):
            for page in self._client("cloudformation").get_paginator("describe_stacks").paginate():
                for stack in page["Stacks"]:
                    if stack["StackName"] in names:
                        outputs |= {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        return outputs

    def secret(self, arn: str) -> str:
        with told("secretsmanager:GetSecretValue"):
            text: str = self._client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        return text

    def _client(self, service: str) -> Any:
        url = self._endpoint_urls.get(service)
        # The emulator's host has no `runtime-` before its name, unlike AWS's.
        config = _CONFIG.merge(_PATIENT) if service in _SMALL_QUOTAS else _CONFIG
        config = config.merge(Config(inject_host_prefix=False)) if url else config
        with told(service):
            return self._session.client(service, endpoint_url=url, config=config)  # type: ignore[call-overload]  # any service
