"""What every handler needs, made once per process and kept across invocations, as the environment says.

CATALOG_SECRET_ARN          a secret in Secrets Manager: {host, port, username, password, dbname}
CATALOG_AUTH                `password` (default): the secret's; `iam`: a token of RDS, made anew at each connect
CATALOG_HOST, _PORT, _USER, _DATABASE   where the catalog is, for `iam` without a secret
CATALOG_FUNCTIONS_USER      the user that MigrateCatalog makes for functions that log in by `iam`; optional
CATALOG_TLS                 `verify` (default): TLS with a certificate that is checked; `off`: a database on this machine
CATALOG_CA_FILE             the certificate authorities to trust for it, beside the system's; optional
DEFAULT_ISSUERS             issuers of PatientIDs that come without one, as JSON (lambdas.logic.issuers); optional
INGEST_STATE_MACHINE_ARN    the machine that start_execution and sweep start
BUCKET_NAME                 the bucket that sweep looks through
FAILURES_TOPIC_ARN          the SNS topic that hears of what ended badly; without it, nobody is told
POWERTOOLS_METRICS_NAMESPACE  CloudWatch's namespace for our metrics (lambdas.handlers.metrics); default `ahi-ingest`
AWS_ENDPOINT_URL...         boto3's own
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from contract.strict import ContractError
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.logic.issuers import DefaultIssuers, parse_issuers

if TYPE_CHECKING:
    from lambdas.adapters.aws import Executions, Queues, Storage, Topic

log = Logger(service="ingest")

_CATALOG_WAIT_SECONDS = 45
"""Longer than a failover or a paused Aurora takes; with a last connect that hangs, shorter than any function's timeout."""


def catalog_settings() -> CatalogSettings:
    """Where the catalog is, as the secret says now. Raises ContractError, StorageUnavailableError, StorageRefusedError."""
    from lambdas.adapters.aws import database_token, read_secret  # noqa: PLC0415 - boto3 is slow to import

    auth = os.environ.get("CATALOG_AUTH", "password")
    if auth not in ("password", "iam"):
        raise ContractError("CATALOG_AUTH: expected `password` or `iam`")
    secret_arn = os.environ.get("CATALOG_SECRET_ARN")
    return CatalogSettings.of_secret(
        read_secret(secret_arn) if secret_arn else _place(),
        tls=os.environ.get("CATALOG_TLS", "verify"),
        ca_file=os.environ.get("CATALOG_CA_FILE") or None,
        make_token=database_token if auth == "iam" else None,
    )


def _place() -> str:
    """What a secret would say, but for the password."""
    names = {"host": "CATALOG_HOST", "port": "CATALOG_PORT", "username": "CATALOG_USER", "dbname": "CATALOG_DATABASE"}
    return json.dumps({name: os.environ[variable] for name, variable in names.items()})


@cache
def catalog() -> Catalog:
    return Catalog(catalog_settings, wait_seconds=_CATALOG_WAIT_SECONDS)


@cache
def default_issuers() -> DefaultIssuers:
    """Raises ContractError."""
    return parse_issuers(os.environ.get("DEFAULT_ISSUERS") or "{}")


@cache
def storage() -> Storage:
    from lambdas.adapters.aws import Storage  # noqa: PLC0415

    return Storage()


@cache
def executions() -> Executions:
    from lambdas.adapters.aws import Executions  # noqa: PLC0415

    return Executions()


@cache
def queues() -> Queues:
    from lambdas.adapters.aws import Queues  # noqa: PLC0415

    return Queues()


@cache
def topic() -> Topic | None:
    """The topic of failures, where there is one."""
    from lambdas.adapters.aws import Topic  # noqa: PLC0415

    topic_arn = os.environ.get("FAILURES_TOPIC_ARN")
    return Topic(topic_arn) if topic_arn else None
