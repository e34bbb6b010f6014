"""Register an association: its row and its lease, and the plan of slices and parts that its execution follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contract.manifest import AssociationManifest
from lambdas.adapters.aws import Execution, Storage
from lambdas.catalog import Catalog, associations
from lambdas.catalog.associations import Announcement
from lambdas.catalog.connection import Cursor
from lambdas.errors import AlreadyRunningError
from lambdas.logic.manifests import read_association, read_part

SLICE_MIN_OBJECTS = 100
SLICES_MAX = 500
PARTS_AT_ONCE = 10
_LEASE_ATTEMPTS = 5
LIVE = {"RUNNING", "PENDING_REDRIVE"}


class DescribesExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def describe(self, execution_arn: str) -> Execution | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSlice:
    part: int
    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the execution maps over. `parts_at_once` is 1 where a later part supersedes objects of an earlier one."""

    slices: tuple[PlannedSlice, ...]
    parts: tuple[int, ...]
    parts_at_once: int


def register(
    catalog: Catalog,
    storage: Storage,
    executions: DescribesExecutions,
    *,
    announcement: Announcement,
    execution_arn: str,
) -> Plan:
    """Write the rows, take the lease, plan.

    Raises AlreadyRunningError when another execution of this association runs, ContractError when manifest and message
    differ, and those of Catalog and Storage.
    """
    manifest = read_association(storage, announcement.message)
    catalog.transaction(lambda cursor: associations.register(cursor, announcement, manifest))
    _take_lease(catalog, executions, manifest.association, execution_arn)
    return _plan(storage, announcement, manifest)


def register_again(catalog: Catalog, storage: Storage, *, announcement: Announcement, execution_arn: str) -> Plan:
    """Write the rows of an association whose execution is over, and keep the sweep from starting another; plan.

    Raises ContractError when manifest and message differ, and those of Catalog and Storage.
    """
    manifest = read_association(storage, announcement.message)

    def work(cursor: Cursor) -> None:
        associations.register(cursor, announcement, manifest)
        associations.hold(cursor, manifest.association, execution_arn)

    catalog.transaction(work)
    return _plan(storage, announcement, manifest)


def _plan(storage: Storage, announcement: Announcement, manifest: AssociationManifest) -> Plan:
    return Plan(
        slices=plan_slices(manifest),
        parts=tuple(summary.part for summary in manifest.parts),
        parts_at_once=1 if _supersedes(storage, announcement.message.bucket, manifest) else PARTS_AT_ONCE,
    )


def plan_slices(manifest: AssociationManifest) -> tuple[PlannedSlice, ...]:
    """Slices of max(100, ceil(objects/500)) objects, none across parts: about 500 at most, whatever the association holds."""
    size = max(SLICE_MIN_OBJECTS, -(-manifest.objects // SLICES_MAX))
    return tuple(
        PlannedSlice(part=summary.part, first=first, count=min(size, summary.objects - first))
        for summary in manifest.parts
        for first in range(0, summary.objects, size)
    )


def _take_lease(catalog: Catalog, executions: DescribesExecutions, association: str, execution_arn: str) -> None:
    for _ in range(_LEASE_ATTEMPTS):
        holder = catalog.transaction(lambda cursor: associations.lease_holder(cursor, association))
        if holder not in (None, execution_arn):
            execution = executions.describe(holder)
            if execution is not None and execution.status in LIVE:
                raise AlreadyRunningError(f"{association}: {holder} runs; wait for it, or stop it")
        if catalog.transaction(
            lambda cursor, holder=holder: associations.take_lease(cursor, association, execution_arn, holder)  # type: ignore[misc]
        ):
            return
    raise AlreadyRunningError(f"{association}: other executions keep taking its lease")


def _supersedes(storage: Storage, bucket: str, manifest: AssociationManifest) -> bool:
    """Whether order matters between parts. An object that supersedes is never in the first part (contract.manifest)."""
    later = (read_part(storage, bucket, manifest.edge, manifest.association, one.part) for one in manifest.parts[1:])
    return any(entry.supersedes for part in later for entry in part.entries)
