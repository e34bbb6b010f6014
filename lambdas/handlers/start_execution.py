"""SQS `inbound` -> an execution of `ingest` for each message; those that cannot be started are returned on their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from contract.strict import ContractError
from lambdas.errors import IngestError
from lambdas.handlers.environment import executions, log, queues
from lambdas.handlers.metrics import Metric, count
from lambdas.logic.starting import start

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    # Not raising when all fail: a batch of one malformed message is answered like any other.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event=event, record_handler=_start, processor=processor, context=context))


def _start(record: SQSRecord) -> None:
    try:
        association = start(executions(), os.environ["INGEST_STATE_MACHINE_ARN"], record.body, record.attributes.sent_timestamp)
    except (ContractError, IngestError) as error:
        log.error("A message starts no execution", message_id=record.message_id, error=type(error).__name__, reason=str(error))
        if isinstance(error, ContractError):
            count({Metric.MESSAGES_REFUSED: 1})
            _give_back(record)
        raise
    log.info("Started", association=association)


def _give_back(record: SQSRecord) -> None:
    """No wait makes a malformed message better: it goes on to the dead letter queue, and to whoever watches that, now."""
    try:
        queues().give_back(record.event_source_arn, record.receipt_handle)
    except IngestError as error:
        log.warning("A message waits for its visibility timeout", message_id=record.message_id, error=type(error).__name__)
