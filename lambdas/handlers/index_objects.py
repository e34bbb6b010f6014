"""IndexObjects: a slice -> {indexed, not_indexed, fetched_bytes}."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from contract.strict import from_plain
from lambdas.handlers.environment import catalog, default_issuers, log, storage
from lambdas.logic.indexing import Slice, index_slice


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    wanted = from_plain(Slice, event)
    result = asdict(index_slice(catalog(), storage(), wanted, default_issuers()))
    log.info("Indexed", association=wanted.association, part=wanted.part, first=wanted.first, **result)
    return result
