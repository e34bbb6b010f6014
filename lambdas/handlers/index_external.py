"""SQS `external` (S3's events of objects that came without the receiver) -> their rows; each message fails on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from contract.strict import ContractError
from lambdas.errors import CatalogUnavailableError, IngestError
from lambdas.handlers.environment import catalog, default_issuers, log, storage
from lambdas.logic.external import follow_event, parse_events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    # Not raising when all fail: a batch of one malformed message is answered like any other.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    follow = _Batch().follow
    return dict(process_partial_response(event=event, record_handler=follow, processor=processor, context=context))


class _Batch:
    """The messages of one invocation. Once the catalog is away, the others fail unseen: each would wait for it again."""

    def __init__(self) -> None:
        self._away: CatalogUnavailableError | None = None

    def follow(self, record: SQSRecord) -> None:
        if self._away:
            raise self._away
        try:
            for event in parse_events(record.body):
                done = follow_event(catalog(), storage(), event, default_issuers())
                log.info("Followed", event=event.name, object_hash=event.version.object_hash, done=done)
        except (ContractError, IngestError) as error:
            if isinstance(error, CatalogUnavailableError):
                self._away = error
            log.error("An event is not followed", message_id=record.message_id, error=type(error).__name__, reason=str(error))
            raise
