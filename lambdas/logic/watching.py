"""How the edges are, by the reports that they write: since when an edge is silent, and how far it is behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from contract.keys import status_key
from contract.status import EdgeStatus
from contract.strict import ContractError, from_json
from lambdas.adapters.aws import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHealth:
    """`silent_seconds` is by S3's clock. The rest is what the edge said last, None when that cannot be read."""

    edge: str
    silent_seconds: float
    upload_lag_seconds: int | None = None
    disk_free_bytes: int | None = None


def watch(storage: Storage, bucket: str, edge: str, now: datetime) -> EdgeHealth | None:
    """How an edge is; None for one that has never reported. Raises as Storage."""
    key = status_key(edge)
    reported_at = storage.last_modified(bucket, key)
    if reported_at is None:
        return None
    silent_seconds = max(0.0, (now - reported_at).total_seconds())
    try:
        status = from_json(EdgeStatus, storage.read(bucket, key))
    except ContractError:  # a receiver newer than these functions: that it reports is known, and not what
        return EdgeHealth(edge=edge, silent_seconds=silent_seconds)
    return EdgeHealth(
        edge=edge,
        silent_seconds=silent_seconds,
        upload_lag_seconds=status.upload_lag_seconds,
        disk_free_bytes=status.disk_free_bytes,
    )
