"""`ahi-ingest rebuild`: the catalog again, of what S3, HealthImaging and Step Functions remember, by the Lambdas' own logic.

1. Every association is registered, so that each knows what is later than it. Until its verdict it is REBUILDING, which keeps
   the sweep of a database in use from starting what is older than Step Functions remembers.
2. Every attempt is claimed and its outputs are collected, in the order of their jobs. What an attempt imported its job says;
   why it was made follows from what had been recorded before it. Attempts at whole parts do not look back, and go side by side.
3. Every association is indexed, in order, some at once, and gets its verdict. People were told of that when it was news.

Each step may be repeated, so one that was broken off is done by the same command again. docs/replay.md names what cannot be
known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from console.history import Attempted, NotRebuilt, Remembered
from console.planning import VERDICTS
from console.stack import Stack
from contract.keys import instances_prefix
from contract.strict import ContractError
from lambdas.catalog import Catalog, CatalogSettings, associations, imports
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import CLAIMED, COMPLETED
from lambdas.errors import IngestError
from lambdas.logic.claiming import NOT_STARTED, JobInput, Part, claim
from lambdas.logic.following import follow
from lambdas.logic.importing import record_failure
from lambdas.logic.indexing import Slice, index_slice
from lambdas.logic.issuers import DefaultIssuers
from lambdas.logic.outputs import collect
from lambdas.logic.reconciling import reconcile
from lambdas.logic.registering import LIVE, Plan, register, register_again

_BATCH_MAX = 64
_JOB_FAILED = "Import.JobFailed"  # workflows/import.asl.json, state JobEnded

One = TypeVar("One")
Result = TypeVar("Result")


class Rebuilding:
    """Fills one catalog; `at_once` associations or attempts are dealt with side by side."""

    def __init__(self, stack: Stack, target: CatalogSettings, issuers: DefaultIssuers, *, at_once: int) -> None:
        self._stack = stack
        self._target = target
        self._issuers = issuers
        self._at_once = at_once
        self._local = threading.local()
        self._catalogs: list[Catalog] = []
        self._plans: dict[str, Plan] = {}
        self._made: dict[tuple[str, int], dict[int, JobInput]] = {}

    def register(self, remembered: Sequence[Remembered]) -> Iterator[NotRebuilt | None]:
        """Write the rows of associations; something, or None, for each as it is done. So do the others."""
        yield from self._side_by_side(self._register, remembered, lambda one: one.announcement.message.association)

    def import_(self, attempts: Sequence[Attempted]) -> Iterator[NotRebuilt | None]:
        """Claim every attempt and record its results."""
        for one in attempts:
            self._made.setdefault(_part(one), {})[one.key.attempt] = one.input
        unexplained: list[Attempted] = []
        for batch in self._batches(attempts):
            problems = [self._guarded(self._claim, one, one.key.association) for one in batch]
            claimed = [one for one, problem in zip(batch, problems, strict=True) if problem is None]
            unexplained += (one for one, problem in zip(batch, problems, strict=True) if problem is not None)
            yield from self._side_by_side(self._collect, claimed, lambda one: one.key.association)
        for one in unexplained:  # by what was recorded after it, perhaps: that was indexed by then, and imported later
            yield self._guarded(self._claim_and_collect, one, one.key.association)

    def index(self, remembered: Sequence[Remembered]) -> Iterator[NotRebuilt | None]:
        """Index every association, and give it its verdict."""
        yield from self._side_by_side(self._index, remembered, lambda one: one.announcement.message.association)

    def close(self) -> None:
        for catalog in self._catalogs:
            catalog.close()

    def _register(self, one: Remembered) -> None:
        association, run, cloud = one.announcement.message.association, one.run, self._stack.cloud
        arn = run.arn if run else self._stack.execution_arn(association)
        if run is not None and run.status in LIVE:
            plan = register(self._catalog, cloud.storage, cloud.executions, announcement=one.announcement, execution_arn=arn)
        else:
            plan = register_again(self._catalog, cloud.storage, announcement=one.announcement, execution_arn=arn)
        self._plans[association] = plan

    def _batches(self, attempts: Iterable[Attempted]) -> Iterator[list[Attempted]]:
        """An attempt at copies, or at a part whose attempt before is in the batch, needs what was recorded before it."""
        batch: list[Attempted] = []
        for one in attempts:
            looks_back = self._staged(one) or any(_part(one) == _part(other) for other in batch)
            if batch and (looks_back or len(batch) == _BATCH_MAX):
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    def _staged(self, one: Attempted) -> bool:
        return one.input.s3_uri != f"s3://{self._stack.bucket}/{instances_prefix(one.edge, *_part(one))}"

    def _claim(self, one: Attempted) -> None:
        key = one.key
        if self._catalog.transaction(lambda cursor: imports.exists(cursor, key)):
            return  # by a run that was broken off
        why = ContractError(f"part {key.part}, attempt {key.attempt}: nothing that is known calls for it")
        for force, failed_only in _asked(one):
            part = Part(
                association=key.association,
                edge=one.edge,
                bucket=self._stack.bucket,
                part=key.part,
                force=force,
                failed_only=failed_only,
            )
            try:
                if self._claim_as(part, one) == key.attempt:
                    return
            except ContractError as error:
                why = error
        raise why

    def _claim_and_collect(self, one: Attempted) -> None:
        self._claim(one)
        self._collect(one)

    def _claim_as(self, part: Part, one: Attempted) -> int:
        """Claim by what was asked; an attempt before it of which nobody knows a job gives way, as it did then."""
        made = self._made[_part(one)]
        while True:
            claimed = claim(self._catalog, self._stack.cloud.storage, part, execution_arn=one.execution_arn, made=made)
            if claimed.status != CLAIMED or claimed.attempt >= one.key.attempt or claimed.attempt in made:
                return claimed.attempt
            unknown = replace(one.key, attempt=claimed.attempt)
            give_up = partial(imports.give_up, key=unknown, error=NOT_STARTED, cause="no job of it is known")
            if not self._catalog.transaction(give_up):
                return claimed.attempt

    def _collect(self, one: Attempted) -> None:
        catalog, storage, key = self._catalog, self._stack.cloud.storage, one.key
        if one.status == COMPLETED:
            collect(
                catalog,
                storage,
                key,
                edge=one.edge,
                bucket=self._stack.bucket,
                job_id=one.job_id,
                job_output_s3_uri=one.output_s3_uri,
                force=True,  # whatever is there by now is all that will be
            )
        else:
            record_failure(catalog, key, job_id=one.job_id, job_failed=True, error=_JOB_FAILED, cause=one.message)

    def _index(self, one: Remembered) -> None:
        message = one.announcement.message
        for planned in self._plans[message.association].slices:
            wanted = Slice(
                association=message.association,
                edge=message.edge,
                bucket=message.bucket,
                part=planned.part,
                first=planned.first,
                count=planned.count,
            )
            index_slice(self._catalog, self._stack.cloud.storage, wanted, self._issuers)
        run = one.run
        arn = run.arn if run else self._stack.execution_arn(message.association)
        if run is None or run.status == "SUCCEEDED" or run.error in VERDICTS:
            self._reconcile(message.association, arn)
        if run is not None:
            follow(self._catalog, self._stack.cloud.executions, arn)
        self._note_told(message.association, arn)

    def _reconcile(self, association: str, arn: str) -> None:
        try:
            reconcile(self._catalog, association=association, execution_arn=arn)
        except IngestError as error:
            if type(error).__name__ not in VERDICTS:
                raise

    def _note_told(self, association: str, arn: str) -> None:
        def work(cursor: Cursor) -> None:
            end = associations.untold_end(cursor, association, arn)
            if end is not None:
                associations.note_told(cursor, association, end)

        self._catalog.transaction(work)

    @property
    def _catalog(self) -> Catalog:
        """This thread's connection."""
        if not hasattr(self._local, "catalog"):
            self._local.catalog = Catalog(lambda: self._target)
            self._catalogs.append(self._local.catalog)
        catalog: Catalog = self._local.catalog
        return catalog

    def _side_by_side(
        self, act: Callable[[One], None], them: Iterable[One], name: Callable[[One], str]
    ) -> Iterator[NotRebuilt | None]:
        with ThreadPoolExecutor(self._at_once) as pool:
            yield from pool.map(lambda one: self._guarded(act, one, name(one)), them)

    def _guarded(self, act: Callable[[One], None], one: One, association: str) -> NotRebuilt | None:
        """What belongs to one association alone is told, and the others go on. The catalog being away ends it all."""
        try:
            act(one)
        except (ContractError, KeyError) as error:
            return NotRebuilt(association=association, why=str(error))
        except IngestError as error:
            if type(error).__name__.startswith("Catalog."):
                raise
            return NotRebuilt(association=association, why=f"{type(error).__name__}: {error}")
        return None


def _part(one: Attempted) -> tuple[str, int]:
    return one.key.association, one.key.part


def _asked(one: Attempted) -> list[tuple[bool, bool]]:
    """(force, failed_only) of the execution that opened an attempt; where that is forgotten, what it may have been."""
    if one.opened_by:
        return [(bool(one.opened_by.get("force")), bool(one.opened_by.get("failed_only")))]
    again = one.key.attempt > 1
    return [(False, again), (True, again)]
