"""Index objects that came without the receiver, as S3's events tell of them (row by row: lambdas.catalog.external)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from contract.keys import EXTERNAL_PREFIX
from contract.strict import ContractError
from lambdas.adapters.aws import Storage
from lambdas.catalog import Catalog, external
from lambdas.catalog.external import EXTERNAL, ExternalObject, Version
from lambdas.catalog.keys import uid_column
from lambdas.catalog.objects import Described, IndexedObject
from lambdas.logic.indexing import look
from lambdas.logic.issuers import DefaultIssuers, default_issuer

_CREATED, _REMOVED = "ObjectCreated:", "ObjectRemoved:"
_MARKED = "ObjectRemoved:DeleteMarkerCreated"
_SEQUENCER = re.compile(r"[0-9A-F]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent:
    """An event about one object; `name` as S3 has it, without `s3:`."""

    name: str
    version: Version


def parse_events(body: str) -> list[ObjectEvent]:
    """The events in a message of S3's; none in the test event that S3 sends when notifications are set up.

    Raises ContractError. (S3 user guide, "Event message structure".)
    """
    try:
        document = json.loads(body)
        if document.get("Event") == "s3:TestEvent":
            return []
        return [_event(record) for record in document["Records"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ContractError("an event of S3: expected Records with eventName, eventTime and s3") from None


def _event(record: dict[str, Any]) -> ObjectEvent:
    stored = record["s3"]["object"]
    version = Version(
        bucket=str(record["s3"]["bucket"]["name"]),
        key=unquote_plus(stored["key"]),
        version_id=stored.get("versionId"),
        sequencer=stored["sequencer"].upper(),
        size_bytes=int(stored.get("size", 0)),
        at=datetime.fromisoformat(record["eventTime"]),
    )
    if _SEQUENCER.fullmatch(version.sequencer) is None:
        raise ContractError("an event of S3: expected a sequencer of at most 64 hexadecimal digits")
    if not version.key.startswith(EXTERNAL_PREFIX):
        raise ContractError(f"an event of S3: expected a key under {EXTERNAL_PREFIX}")
    return ObjectEvent(name=record["eventName"].removeprefix("s3:"), version=version)


def follow_event(catalog: Catalog, storage: Storage, event: ObjectEvent, issuers: DefaultIssuers) -> str:
    """Bring the catalog up to date with an event; what was done, in a word: indexed, unreadable, overwritten, removed, ignored.

    Raises those of Catalog and Storage.
    """
    version = event.version
    if event.name.startswith(_REMOVED):
        catalog.transaction(lambda cursor: external.remove(cursor, version, hides_all=event.name == _MARKED))
        return "removed"
    if not event.name.startswith(_CREATED) or version.key.endswith("/"):
        return "ignored"  # a key that ends so is a folder, as S3's console and DataSync make them
    return _index(catalog, storage, version, default_issuer(issuers, EXTERNAL, None))


def _index(catalog: Catalog, storage: Storage, version: Version, issuer: str) -> str:
    order = catalog.transaction(lambda cursor: external.order(cursor, version))
    if order is None:
        return "overwritten"

    def read_range(first: int, count: int) -> bytes:
        return storage.read_range(version.bucket, version.key, first, count, version_id=version.version_id)

    looked = look(read_range, version.size_bytes, object_order=order, issuer=issuer)
    listed = ExternalObject(version=version, object_order=order)
    if isinstance(said := looked.outcome, Described):
        listed = ExternalObject(
            version=version,
            object_order=order,
            sop_class_uid=said.sop_class_uid,
            sop_instance_uid=said.sop_instance_uid,
            study_instance_uid=said.study_instance_uid,
            series_instance_uid=said.series_instance_uid,
            transfer_syntax_uid=uid_column(looked.transfer_syntax_uid),
        )
    indexed = IndexedObject(listed=listed, header_bytes=looked.header_bytes, outcome=looked.outcome)
    catalog.transaction(lambda cursor: external.write(cursor, indexed, version))
    return "indexed" if isinstance(looked.outcome, Described) else "unreadable"
