"""Announces again what the emulator forgot: every manifest in S3 that has no execution.

The emulator's queues do not survive a kill -9. In the cloud they do, and a scheduled sweep does the same as this.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from contract.keys import MANIFESTS_PREFIX, parse_manifest_key
from contract.manifest import AssociationManifest
from contract.message import InboundMessage
from contract.strict import ContractError, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.aws import Aws

log = logging.getLogger(__name__)


def announce_again(aws: Aws, engine: Aws, *, bucket: str, queue_url: str, machine_arn: str) -> int:
    """Send the message of every manifest without an execution of that name, oldest first; how many were sent.

    A message that is in the queue as well is harmless: executions are named by the association.
    """
    started = _executions(engine, machine_arn)
    waiting = [key for key, association in _manifests(aws, bucket) if association not in started]
    manifests = [manifest for key in waiting if (manifest := _read(aws, bucket, key))]
    for manifest in sorted(manifests, key=lambda one: (one.edge, one.sequence)):
        message = InboundMessage.announcing(manifest, bucket)
        aws.sqs.send_message(QueueUrl=queue_url, MessageBody=to_json(message).decode())
    return len(manifests)


def _read(aws: Aws, bucket: str, key: str) -> AssociationManifest | None:
    try:
        return from_json(AssociationManifest, aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ContractError as error:
        log.warning("The manifest %s cannot be read, so its association is not announced: %s", key, error)
        return None


def _executions(engine: Aws, machine_arn: str) -> set[str]:
    pages = engine.stepfunctions.get_paginator("list_executions").paginate(stateMachineArn=machine_arn)
    return {execution["name"] for page in pages for execution in page["executions"]}


def _manifests(aws: Aws, bucket: str) -> Iterator[tuple[str, str]]:
    """(key, association) of each association's manifest; the manifests of parts stand beside them."""
    for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=MANIFESTS_PREFIX):
        for item in page.get("Contents", []):
            try:
                _, association = parse_manifest_key(item["Key"])
            except ContractError:
                continue
            yield item["Key"], association
