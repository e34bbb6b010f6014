"""`ahi-ingest replay`: redrives, restarts and repeated imports, at the rate that HealthImaging takes.

Safe to break off and to repeat: a redrive carries a token of its execution and count, a restart has the first free name, and
an import of failed objects adopts what another has begun. What is done is then what `planning` finds, as it is by then.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from uuid import uuid4

from console.aws.machines import Run
from console.errors import CloudError
from console.planning import LIVE, Act, NotImported, Plan, Subject, plan, refusal
from console.stack import Stack
from contract.keys import MANIFESTS_PREFIX, manifest_key
from contract.manifest import AssociationManifest
from contract.message import InboundMessage
from contract.strict import ContractError, from_json, to_json
from lambdas.catalog import imports
from lambdas.catalog.queries import Queries, StoredObject
from lambdas.errors import IngestError
from lambdas.logic.claiming import SERVER

_POLL_SECONDS = 1.0
_RESTARTS_MAX = 1000
_OF_ONE = (CloudError, ContractError, IngestError)
"""What keeps one association from being replayed, and no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done for an association. `execution_arn` is empty when nothing was started. `refused`: it stays red."""

    association: str
    act: Act
    said: str
    execution_arn: str = ""
    refused: bool = False


@dataclass(slots=True)
class _Importing:
    """Imports of failed objects that run, and the association whose execution is to follow them."""

    plan: Plan
    running: list[str]
    failed: int = 0


class Replay:
    """Replays associations of one stack. `starts_per_second` is how many imports are started at most."""

    def __init__(
        self,
        stack: Stack,
        queries: Queries,
        *,
        asked: Act | None,
        force: bool,
        starts_per_second: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stack = stack
        self._queries = queries
        self._machines = stack.cloud.machines
        self._asked = asked
        self._force = force
        self._pause_seconds = 1 / starts_per_second
        self._sleep = sleep
        self._now = now
        self._free_at = now()

    def plan(self, association: str) -> Plan:
        """What to do for an association, known to the catalog or not."""
        return plan(self._subject(association), self._asked, force=self._force)

    def carry_out(self, plans: Sequence[Plan]) -> Iterator[Done]:
        """Do what is planned, oldest association first; what was done, as it is done."""
        importing: list[_Importing] = []
        for one in plans:
            try:
                if one.act is Act.FAILED_ONLY:
                    importing.append(self._import_failed(one))
                else:
                    yield self._act(one)
            except _OF_ONE as error:
                yield _refused(one, _sentence(error))
        while importing:
            for begun in importing[:]:
                try:
                    if not self._has_ended(begun):
                        continue
                    done = self._after_import(begun)
                except _OF_ONE as error:
                    done = _refused(begun.plan, _sentence(error))
                importing.remove(begun)
                yield done
            if importing:
                self._sleep(_POLL_SECONDS)

    def wait(self, done: Done) -> Run | None:
        """The execution that was started, once it has ended."""
        while (run := self._machines.describe(done.execution_arn)) is not None and run.status in LIVE:
            self._sleep(_POLL_SECONDS)
        return run

    def _subject(self, association: str) -> Subject:
        row = self._queries.association(association)
        arn = row.execution_arn if row is not None and row.execution_arn else self._stack.execution_arn(association)
        run = self._machines.describe(arn)
        failed = run is not None and run.status not in LIVE and not run.redrive_refusal
        held = self._queries.stored_objects(association, only_failed=True)
        return Subject(
            association=association,
            status=row.status if row else None,
            run=run,
            counts=self._queries.ledger(association),
            not_imported=_not_imported(held),
            removed=tuple(one.s3_key for one in held if one.is_foreign and row and not self._in_s3(row.bucket, one.s3_key)),
            definition_changed=failed and self._machines.definition_changed(arn, self._stack.ingest_machine_arn),
        )

    def _in_s3(self, bucket: str, key: str) -> bool:
        return self._stack.cloud.objects.exists(bucket, key)

    def _act(self, one: Plan) -> Done:
        if one.act is Act.RESTART:
            return self._restart(one)
        if one.act is Act.REDRIVE and one.run is not None:
            return self._redrive(one, one.run)
        return Done(association=one.association, act=Act.NOTHING, said=one.why, refused=one.stuck)

    def _redrive(self, one: Plan, run: Run) -> Done:
        if one.forget:
            with closing(self._stack.catalog()) as catalog:
                catalog.transaction(lambda cursor: imports.forget_foreign(cursor, one.association, one.forget))
        self._pace()
        # Of this redrive alone: a repeat after a lost answer is the same, and one after it ended is another.
        token = hashlib.sha256(f"{run.arn}/{run.redrive_count}".encode()).hexdigest()
        try:
            self._machines.redrive(run.arn, token)
        except CloudError as error:
            if error.code == "ExecutionNotRedrivable":
                return _refused(one, f"meanwhile somebody else has replayed it, or {refusal(str(error))}")
            if error.code == "ExecutionLimitExceeded":
                return _refused(one, "too many executions are open in this account: try again when some have ended")
            raise
        return Done(association=one.association, act=Act.REDRIVE, said=one.why, execution_arn=run.arn)

    def _restart(self, one: Plan) -> Done:
        document = self._input(one)
        name = self._free_name(one.association)
        if name is None:
            return _refused(one, "a restart of it runs already")
        self._pace()
        arn = self._machines.start(self._stack.ingest_machine_arn, name, document)
        return Done(association=one.association, act=Act.RESTART, said=f"as {name}", execution_arn=arn)

    def _import_failed(self, one: Plan) -> _Importing:
        """Start an import of what is not imported, of each part that has such. It stages copies of just these."""
        edge, bucket = self._home(one.association)
        running = []
        for part in one.parts:
            self._pace()
            wanted = {"association": one.association, "edge": edge, "bucket": bucket, "part": part}
            name = f"{one.association}.{part}.{uuid4().hex[:8]}"
            document = wanted | {"failed_only": True, "force": self._force}
            running.append(self._machines.start(self._stack.import_machine_arn, name, document))
        return _Importing(plan=one, running=running)

    def _has_ended(self, one: _Importing) -> bool:
        for arn in one.running[:]:
            run = self._machines.describe(arn)
            if run is None or run.status not in LIVE:
                one.running.remove(arn)
                one.failed += run is None or run.status != "SUCCEEDED"
        return not one.running

    def _after_import(self, one: _Importing) -> Done:
        """The original execution reads the mended ledger; where AWS does not redrive it any more, a new one does."""
        if one.failed:
            return _refused(one.plan, f"{one.failed} import(s) failed: `ahi-ingest show {one.plan.association}` has the error")
        then = replace(one.plan, why=f"imported again: {one.plan.why}")
        done = self._restart(then) if then.run is None or then.run.redrive_refusal else self._redrive(then, then.run)
        return replace(done, act=done.act if done.refused else Act.FAILED_ONLY)

    def _input(self, one: Plan) -> dict[str, object]:
        """The input of the association's execution, of its manifest in S3, and of when SQS took its message."""
        edge, bucket = self._home(one.association)
        raw = self._stack.cloud.storage.read(bucket, manifest_key(edge, one.association))
        message = InboundMessage.announcing(from_json(AssociationManifest, raw), bucket)
        document: dict[str, object] = json.loads(to_json(message)) | {"sent_at_ms": self._sent_at_ms(one, edge, bucket)}
        return document | ({"force": True} if self._force else {})

    def _sent_at_ms(self, one: Plan, edge: str, bucket: str) -> int:
        """As the catalog or the execution has it; else when the manifest came to S3, which is just before."""
        row = self._queries.association(one.association)
        if row is not None:
            return row.sent_at_ms
        if one.run is not None and isinstance(one.run.input.get("sent_at_ms"), int):
            return int(one.run.input["sent_at_ms"])
        (manifest,) = self._stack.cloud.objects.below(bucket, manifest_key(edge, one.association))
        return int(manifest.modified_at.timestamp() * 1000)

    def _home(self, association: str) -> tuple[str, str]:
        """(edge, bucket) of an association; of one that the catalog does not know, by its manifest."""
        row = self._queries.association(association)
        if row is not None:
            return row.edge, row.bucket
        objects, bucket = self._stack.cloud.objects, self._stack.bucket
        for folder in objects.folders(bucket, MANIFESTS_PREFIX):
            edge = folder.split("/")[1]
            if objects.exists(bucket, manifest_key(edge, association)):
                return edge, bucket
        raise CloudError(f"Neither the catalog nor s3://{bucket}/{MANIFESTS_PREFIX} knows an association {association}.")

    def _free_name(self, association: str) -> str | None:
        """A name for another execution; None while one of those before runs. AWS forgets a name after 90 days."""
        for number in range(_RESTARTS_MAX):
            name = f"{association}.restart-{number}" if number else association
            run = self._machines.describe(self._stack.execution_arn(name))
            if run is None:
                return name
            if run.status in LIVE:
                return None
        raise CloudError(f"{association} was restarted {_RESTARTS_MAX} times.")

    def _pace(self) -> None:
        """HealthImaging takes about one StartDICOMImportJob a second (Developer Guide, "Endpoints and quotas")."""
        self._sleep(max(0.0, self._free_at - self._now()))
        self._free_at = max(self._now(), self._free_at) + self._pause_seconds


def _not_imported(failed: Sequence[StoredObject]) -> NotImported:
    held = [one for one in failed if one.part is not None and not one.is_foreign and one.import_status in (None, "FAILED")]
    by_service = sum(one.import_fault == SERVER or one.import_status is None for one in held)
    parts = sorted({one.part for one in held if one.part is not None})
    return NotImported(by_service=by_service, by_customer=len(held) - by_service, parts=tuple(parts))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, CloudError) else f"{type(error).__name__}: {error}"


def _refused(one: Plan, why: str) -> Done:
    return Done(association=one.association, act=Act.NOTHING, said=why, refused=True)
