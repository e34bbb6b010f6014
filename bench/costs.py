"""What AWS asks for a million objects: counts of one association times list prices.

Prices are USD in us-east-1, and assumptions: they are AWS's public list prices as commonly known, none was looked up on the
day of a measurement. Each names its page. Left out on both sides is what does not grow with the objects: the database, keys,
VPC endpoints, alarms, the reference's timer (43,800 invocations a month), our sweep, Lambda's polls of an empty queue; and
HealthImaging's own reads, which are the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

STEP_FUNCTIONS_TRANSITION = 0.025 / 1e3  # aws.amazon.com/step-functions/pricing, Standard Workflows
LAMBDA_REQUEST = 0.20 / 1e6  # aws.amazon.com/lambda/pricing
LAMBDA_GB_SECOND_ARM = 0.0000133334  # the same page; what we deploy
LAMBDA_GB_SECOND_X86 = 0.0000166667  # the same page; what the reference deploys
S3_PUT = 0.005 / 1e3  # aws.amazon.com/s3/pricing, Standard: PUT, COPY, POST, LIST
S3_GET = 0.0004 / 1e3  # the same page: GET and all others
SQS_REQUEST = 0.40 / 1e6  # aws.amazon.com/sqs/pricing, standard queues
SECRET_READ = 0.05 / 1e4  # aws.amazon.com/secrets-manager/pricing

PRICES = {
    "Step Functions, 1,000 transitions": STEP_FUNCTIONS_TRANSITION * 1e3,
    "Lambda, 1 million requests": LAMBDA_REQUEST * 1e6,
    "Lambda, 1 million GB-s on arm64 (ours)": LAMBDA_GB_SECOND_ARM * 1e6,
    "Lambda, 1 million GB-s on x86 (the reference)": LAMBDA_GB_SECOND_X86 * 1e6,
    "S3, 1,000 PUT, COPY, POST or LIST": S3_PUT * 1e3,
    "S3, 1,000 GET": S3_GET * 1e3,
    "SQS, 1 million requests": SQS_REQUEST * 1e6,
    "Secrets Manager, 10,000 reads": SECRET_READ * 1e4,
}

POLLER_REQUESTS = 2
"""Lambda receives and deletes each message: an SQS request each (Lambda guide, "Using Lambda with Amazon SQS")."""

_OURS_INDEX_GB = 1.0
_REFERENCE_GB, _REFERENCE_BATCH, _SQS_BATCH = 4.0, 40, 10
"""The reference's indexing function: 4,096 MB, up to 40 objects an invocation. SQS takes and gives ten messages a request."""


def ours(counted: Mapping[str, float], index_seconds_per_object: float | None = None) -> dict[str, float]:
    """USD for a million objects in associations like the one that was counted, by service.

    Indexing costs what bench/index measured of one worker, where given: in the count all slices of an association share the
    cores of one machine, and Lambda bills each for its wait.
    """
    objects = counted["objects"]
    index = counted["index_gb_s"] if index_seconds_per_object is None else objects * index_seconds_per_object * _OURS_INDEX_GB
    return _per_million(
        objects,
        {
            "Step Functions": counted["transitions"] * STEP_FUNCTIONS_TRANSITION,
            "Lambda": counted["invocations"] * LAMBDA_REQUEST
            + (counted["gb_s"] - counted["index_gb_s"] + index) * LAMBDA_GB_SECOND_ARM,
            "S3": counted["s3_puts"] * S3_PUT + counted["s3_gets"] * S3_GET,
            "SQS": (counted["sqs_calls"] + POLLER_REQUESTS) * SQS_REQUEST,
            "Secrets Manager": counted["secrets"] * SECRET_READ,
        },
    )


def reference(objects: float, index_seconds_per_object: float) -> dict[str, float]:
    """The same of the reference's pattern, with associations of so many objects of one series.

    Each object is put, announced to SQS by S3, received, read whole, and its message deleted; an invocation takes a batch, and
    reads the database's secret. The association itself is one more message and invocation, of 256 MB, whose time is left out.
    """
    batches, messages = math.ceil(objects / _REFERENCE_BATCH), math.ceil(objects / _SQS_BATCH)
    return _per_million(
        objects,
        {
            "Step Functions": 0.0,
            "Lambda": (batches + 1) * LAMBDA_REQUEST
            + objects * index_seconds_per_object * _REFERENCE_GB * LAMBDA_GB_SECOND_X86,
            "S3": objects * (S3_PUT + S3_GET),
            "SQS": (objects + POLLER_REQUESTS * messages + 1 + POLLER_REQUESTS) * SQS_REQUEST,
            "Secrets Manager": (batches + 1) * SECRET_READ,
        },
    )


def _per_million(objects: float, usd: Mapping[str, float]) -> dict[str, float]:
    return {service: 1e6 * one / objects for service, one in usd.items()}
