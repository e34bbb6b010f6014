"""Reads manifests from S3, and checks that they are the ones asked for."""

from __future__ import annotations

import json

from contract.keys import manifest_key, part_manifest_key
from contract.manifest import AssociationManifest, PartManifest
from contract.message import InboundMessage
from contract.strict import ContractError, from_json, from_plain
from lambdas.adapters.aws import Storage
from lambdas.catalog.associations import Origin
from lambdas.catalog.objects import Listed
from lambdas.logic.order import object_order


def read_association(storage: Storage, message: InboundMessage) -> AssociationManifest:
    """The manifest that the message announces. Raises ContractError when it is another, and those of Storage."""
    raw = storage.read(message.bucket, manifest_key(message.edge, message.association))
    manifest = from_json(AssociationManifest, raw)
    announced = InboundMessage.announcing(manifest, message.bucket)
    if announced != message:
        names = [name for name in InboundMessage.__slots__ if getattr(announced, name) != getattr(message, name)]
        raise ContractError(f"the manifest in S3 differs from its message in {', '.join(names)}")
    return manifest


def read_part(
    storage: Storage, bucket: str, edge: str, association: str, part: int, *, first: int = 0, count: int | None = None
) -> PartManifest:
    """The manifest of one part, or what a slice needs of it: `count` entries from `first`, and only these are checked.

    Raises ContractError when it is another's, and those of Storage.
    """
    raw = storage.read(bucket, part_manifest_key(edge, association, part))
    try:
        document = json.loads(raw)
        document["entries"] = document["entries"][first : None if count is None else first + count]
    except (KeyError, TypeError, ValueError):
        raise ContractError("the part's manifest in S3: expected a JSON object with entries") from None
    manifest = from_plain(PartManifest, document)
    if (manifest.association, manifest.edge, manifest.part) != (association, edge, part):
        raise ContractError("the part's manifest in S3 names another association, edge or part")
    return manifest


def list_part(
    storage: Storage,
    bucket: str,
    edge: str,
    association: str,
    part: int,
    *,
    origin: Origin,
    first: int = 0,
    count: int | None = None,
) -> list[Listed]:
    """The objects of a part, in its manifest's order: all, or `count` from `first`. Raises as `read_part`."""
    manifest = read_part(storage, bucket, edge, association, part, first=first, count=count)
    return [
        Listed(
            association=association,
            bucket=bucket,
            part=part,
            position=position,
            entry=entry,
            object_order=object_order(origin, association, part, position),
        )
        for position, entry in enumerate(manifest.entries, first)
    ]
