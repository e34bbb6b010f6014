"""The sweep: whatever S3 holds has a row, and whatever a row says of an execution is so. What is not is found here.

    PREFIX_WITHOUT_MANIFEST      objects whose manifest never came     only listed: their edge may still be uploading
    MANIFEST_WITHOUT_EXECUTION   the message was lost, or the event    started, or its end is written down
    EVENT_LOST                   and WatchExecutions did not see it    its end is written down
    EXECUTION_VANISHED           Step Functions does not know it       started again
    UNREADABLE                   a manifest that keeps no contract     only listed

All that it does may be done twice: executions are named by their association, and rows are written by the same rules as
after an event. It looks LOOK_BACK into the past, by the time in the associations' ids; rows that are open, however old.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from contract.association import check_association_id, check_edge_id
from contract.keys import INSTANCES_PREFIX, MANIFESTS_PREFIX, QUARANTINE_PREFIX, manifest_key
from contract.manifest import AssociationManifest
from contract.message import InboundMessage
from contract.strict import ContractError, from_json, to_json
from lambdas.adapters.aws import Execution, Storage, execution_arn
from lambdas.catalog import Catalog, orphans
from lambdas.catalog.orphans import Kind, OpenAssociation, Orphan
from lambdas.errors import CatalogUnavailableError, IngestError, StorageNotFoundError, StorageUnavailableError
from lambdas.logic.following import follow_described
from lambdas.logic.registering import LIVE

LOOK_BACK = timedelta(days=30)
MANIFEST_WITHIN = timedelta(hours=24)
"""How long after its last object an association may be without a manifest: an edge's line may be down for a day."""
EXECUTION_WITHIN = timedelta(minutes=15)
"""How long a manifest may be without an execution: its message may wait in the queue."""
EVENT_WITHIN = timedelta(minutes=5)
"""How long a row may be open before it is looked at here. Lost events are found within a minute, by `missed`."""


class RunsExecutions(Protocol):
    """What this needs of Step Functions (lambdas.adapters.aws.Executions)."""

    def describe(self, execution_arn: str) -> Execution | None: ...

    def start(self, state_machine_arn: str, name: str, document: dict[str, Any]) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One run over one bucket. `now` is UTC, with its zone."""

    catalog: Catalog
    storage: Storage
    executions: RunsExecutions
    bucket: str
    state_machine_arn: str
    now: datetime

    def run(self) -> list[Orphan]:
        """Find, put right, and write down; what was found. Raises those of Catalog and Storage when all is away."""
        found = [*self._without_row(), *self._open()]
        moment = _naive(self.now)
        self.catalog.transaction(lambda cursor: orphans.record(cursor, found, moment))
        return found

    def _without_row(self) -> Iterator[Orphan]:
        first = f"{self.now - LOOK_BACK:%Y%m%dT%H%M%SZ}"
        prefixes = (MANIFESTS_PREFIX, INSTANCES_PREFIX, QUARANTINE_PREFIX)
        edges = {edge for prefix in prefixes for edge in self.storage.folders(self.bucket, prefix)}
        for edge in sorted(filter(_is_edge, edges)):
            there = {one for prefix in prefixes for one in self.storage.folders(self.bucket, f"{prefix}{edge}/", first)}
            known = self.catalog.transaction(lambda cursor, edge=edge: orphans.known(cursor, edge, first))  # type: ignore[misc]
            for association in sorted(filter(_is_association, there - known)):
                yield from self._looked_at(association, edge, lambda one=association, edge=edge: self._unknown(one, edge))  # type: ignore[misc]

    def _open(self) -> Iterator[Orphan]:
        before = _naive(self.now - EVENT_WITHIN)
        for row in self.catalog.transaction(lambda cursor: orphans.open_since(cursor, before)):
            yield from self._looked_at(row.association, row.edge, lambda row=row: self._of_row(row))  # type: ignore[misc]

    def _looked_at(self, association: str, edge: str, look: Callable[[], Orphan | None]) -> Iterator[Orphan]:
        """What `look` finds; an association that cannot be looked at is found too, and keeps no other from it.

        Raises CatalogUnavailableError, StorageUnavailableError: then the next sweep, which is soon, looks at all.
        """
        try:
            found = look()
        except (CatalogUnavailableError, StorageUnavailableError):
            raise
        except (ContractError, IngestError) as error:
            found = self._orphan(Kind.UNREADABLE, association, edge, f"{type(error).__name__}: {error}", self.now)
        if found is not None:
            yield found

    def _unknown(self, association: str, edge: str) -> Orphan | None:
        """An association without a row: one that is on its way, or astray."""
        written = self.storage.last_modified(self.bucket, manifest_key(edge, association))
        if written is None:
            return self._without_manifest(association, edge)
        if written > self.now - EXECUTION_WITHIN:
            return None
        execution = self.executions.describe(execution_arn(self.state_machine_arn, association))
        if execution is not None and execution.status in LIVE:
            return None
        settled = self._put_right(association, edge, execution, int(written.timestamp() * 1000))
        detail = f"execution {execution.status}" if execution else "no execution"
        return self._orphan(Kind.MANIFEST_WITHOUT_EXECUTION, association, edge, detail, written, settled=settled)

    def _without_manifest(self, association: str, edge: str) -> Orphan | None:
        folders = (f"{prefix}{edge}/{association}/" for prefix in (INSTANCES_PREFIX, QUARANTINE_PREFIX, MANIFESTS_PREFIX))
        times = [time for folder in folders if (time := self.storage.last_modified(self.bucket, folder))]
        if not times or max(times) > self.now - MANIFEST_WITHIN:
            return None
        return self._orphan(Kind.PREFIX_WITHOUT_MANIFEST, association, edge, "no manifest.json", max(times))

    def _of_row(self, row: OpenAssociation) -> Orphan | None:
        arn = row.execution_arn or execution_arn(self.state_machine_arn, row.association)
        execution = self.executions.describe(arn)
        if execution is not None and execution.status in LIVE:
            return None
        settled = self._put_right(row.association, row.edge, execution, row.sent_at_ms)
        kind = Kind.EVENT_LOST if execution else Kind.EXECUTION_VANISHED
        detail = f"execution {execution.status}" if execution else "no execution"
        since = row.status_changed_at.replace(tzinfo=UTC)
        return self._orphan(kind, row.association, row.edge, detail, since, settled=settled)

    def _put_right(self, association: str, edge: str, execution: Execution | None, sent_at_ms: int) -> bool:
        """Write down the end of an execution that ended, start one where there is none; whether that is done."""
        if execution is not None:
            follow_described(self.catalog, execution)
            return True
        try:
            manifest = from_json(AssociationManifest, self.storage.read(self.bucket, manifest_key(edge, association)))
        except StorageNotFoundError:
            return False
        message = InboundMessage.announcing(manifest, self.bucket)
        document: dict[str, Any] = json.loads(to_json(message))
        return self.executions.start(self.state_machine_arn, association, document | {"sent_at_ms": sent_at_ms}) is not None

    @staticmethod
    def _orphan(kind: Kind, association: str, edge: str, detail: str, since: datetime, *, settled: bool = False) -> Orphan:
        return Orphan(kind=kind, association=association, edge=edge, detail=detail, since=_naive(since), settled=settled)


def _is_edge(name: str) -> bool:
    return _keeps(check_edge_id, name)


def _is_association(name: str) -> bool:
    return _keeps(check_association_id, name)


def _keeps(check: Callable[[str], str], name: str) -> bool:
    try:
        check(name)
    except ContractError:
        return False
    return True


def _naive(moment: datetime) -> datetime:
    """UTC without its zone, in milliseconds, as columns have it."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
