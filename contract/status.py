"""`status/<edge>.json`: what an edge says of itself, every 30 s. Without it for minutes, nobody knows how the edge is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from contract.association import check_edge_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledCount:
    """An association whose folder is in the spool. `state`: open, sealed, or uploaded (its manifest is kept)."""

    association: str
    calling_ae: str
    state: str
    objects: int
    size_bytes: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastObject:
    """When an AE title last sent an object that was acknowledged."""

    calling_ae: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often since the receiver started: a C-STORE status, or result/source/reason of a rejection."""

    code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeStatus:
    """Sizes in bytes, ages in seconds. `associations` are the oldest 100; the counts are of all."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    edge: str
    at: datetime
    software_version: str
    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    workers: int
    connected: int
    open: int
    sealed: int
    associations: tuple[SpooledCount, ...]
    spool_objects: int
    spool_bytes: int
    spool_oldest_seconds: int
    upload_lag_seconds: int
    disk_free_bytes: int
    quarantined: int
    unchecked: int
    """Objects since the receiver started that could not be checked in full, and are imported all the same."""
    last_objects: tuple[LastObject, ...]
    refused: tuple[Count, ...]
    rejected: tuple[Count, ...]
    clock_offset_milliseconds: int | None
    """S3's clock less ours, known to about a second; None before the first answer of S3."""

    def __post_init__(self) -> None:
        check_edge_id(self.edge)
