"""`ahi-ingest adopt`: associations made of objects that came without the receiver, brought into the pipeline.

    list -> read and place -> plan to S3 -> copies -> part manifests -> manifest -> execution

Each step is repeated without harm, and what broke off goes on from its plan: an object that stands in one, in the version
that was read, is not looked at again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from console.adoption import PART_MAX_BYTES, PART_MAX_OBJECTS, Adoption, Source, plan_copies, plan_in_place
from console.aws import CALLS_AT_ONCE
from console.aws.objects import StoredKey
from console.errors import CloudError
from console.stack import Stack
from contract.keys import (
    INSTANCES_PREFIX,
    QUARANTINE_PREFIX,
    adopted_key,
    adopted_prefix,
    manifest_key,
    part_manifest_key,
)
from contract.message import InboundMessage
from contract.strict import ContractError, from_json, to_json
from lambdas.catalog.queries import Queries
from lambdas.logic.starting import start

_ASSOCIATION_DEPTH = 2  # slashes of instances/<edge>/


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What became of an association; `failed` when it is not in the pipeline."""

    association: str
    said: str
    failed: bool = False


class Adopting:
    """Adopts objects into one stack, as the edge `edge`."""

    def __init__(self, stack: Stack, queries: Queries, *, edge: str, quiet_hours: float) -> None:
        self._stack = stack
        self._queries = queries
        self._edge = edge
        self._quiet = timedelta(hours=quiet_hours)
        self._objects = stack.cloud.objects

    def plans(self, bucket: str, prefix: str) -> Iterator[Adoption | Adopted]:
        """What is to be adopted below a prefix: what was planned before and is not done, then new plans, each when it is made.

        Or why an association under instances/ cannot be. Raises CloudError.
        """
        if bucket == self._stack.bucket and prefix.startswith(INSTANCES_PREFIX):
            yield from self._in_place(prefix)
            return
        seen: set[tuple[str, str]] = set()
        for before in self._planned():
            if before.bucket == bucket:
                of_prefix = {(one.key, one.etag) for one in before.sources if one.key.startswith(prefix)}
                seen |= of_prefix
                if of_prefix and self._queries.association(before.manifest.association) is None:
                    yield before
        new = (one for one in self._objects.below(bucket, prefix) if (one.key, one.etag) not in seen and one.size_bytes)
        for chunk in _chunks(new):
            plan = plan_copies(self._objects, bucket, chunk, self._edge)
            self._objects.put_new(self._stack.bucket, adopted_key(self._edge, plan.manifest.association), to_json(plan))
            yield plan

    def carry_out(self, plan: Adoption) -> Adopted:
        """Bring one association into the pipeline."""
        association = plan.manifest.association
        try:
            self._copy(plan)
            self._write_manifests(plan)
            message = InboundMessage.announcing(plan.manifest, self._stack.bucket)
            body, now_ms = to_json(message).decode(), str(int(time.time() * 1000))
            start(self._stack.cloud.executions, self._stack.ingest_machine_arn, body, now_ms)
        except CloudError as error:
            return Adopted(association=association, said=str(error), failed=True)
        repeats, held = plan.manifest.identical_repeats, len(plan.manifest.quarantined)
        counts = f"{plan.manifest.objects} object(s), {held} quarantined, {repeats} repeated"
        return Adopted(association=association, said=f"is ingested: {counts}")

    def _planned(self) -> Iterator[Adoption]:
        keys = [one.key for one in self._objects.below(self._stack.bucket, adopted_prefix(self._edge))]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            for raw in pool.map(lambda key: self._stack.cloud.storage.read(self._stack.bucket, key), keys):
                yield from_json(Adoption, raw)

    def _in_place(self, prefix: str) -> Iterator[Adoption | Adopted]:
        bucket = self._stack.bucket
        named = prefix.count("/") > _ASSOCIATION_DEPTH  # one association, and not all of an edge's
        for folder in [_folder(prefix)] if named else self._associations(prefix):
            edge, association = folder.split("/")[1:3]
            if self._objects.exists(bucket, manifest_key(edge, association)):
                if named:
                    yield Adopted(association=association, said=f"has a manifest: `ahi-ingest replay {association} --restart`")
                continue
            listed = list(self._objects.below(bucket, folder))
            held = list(self._objects.below(bucket, QUARANTINE_PREFIX + folder.removeprefix(INSTANCES_PREFIX)))
            if not listed and not held:
                continue
            if datetime.now(UTC) - max(one.modified_at for one in (*listed, *held)) < self._quiet:
                said = f"got objects within the last {self._quiet}: its edge may still be sending (--quiet-hours)"
                yield Adopted(association=association, said=said, failed=True)
                continue
            try:
                yield plan_in_place(self._objects, bucket, listed, held, edge=edge, association=association)
            except ContractError as error:
                yield Adopted(association=association, said=str(error), failed=True)

    def _associations(self, prefix: str) -> Iterator[str]:
        """The folders of associations below instances/, or below one edge's; those with quarantined objects alone, too."""
        bucket, below = self._stack.bucket, prefix.removeprefix(INSTANCES_PREFIX)
        found = set()
        for kind in (INSTANCES_PREFIX, QUARANTINE_PREFIX):
            for edge in [kind + below] if below else self._objects.folders(bucket, kind):
                found |= {INSTANCES_PREFIX + folder.removeprefix(kind) for folder in self._objects.folders(bucket, edge)}
        yield from sorted(found)

    def _copy(self, plan: Adoption) -> None:
        """Copy what is not there yet. HealthImaging scans the prefix, so no other object may get there."""
        bucket, manifest = self._stack.bucket, plan.manifest
        there: set[str] = set()
        for folder in (INSTANCES_PREFIX, QUARANTINE_PREFIX):
            there |= {one.key for one in self._objects.below(bucket, f"{folder}{manifest.edge}/{manifest.association}/")}
        missing = [one for one in plan.sources if one.target and one.target not in there]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            changed = [
                one.key
                for one, copied in zip(missing, pool.map(lambda one: self._one(plan, one), missing), strict=True)
                if not copied
            ]
        if changed:
            raise CloudError(
                f"{len(changed)} object(s) are not any more as they were read, such as s3://{plan.bucket}/{changed[0]}: "
                f"put them back, or remove s3://{bucket}/{adopted_key(manifest.edge, manifest.association)} to begin anew"
            )

    def _one(self, plan: Adoption, source: Source) -> bool:
        return self._objects.copy(plan.bucket, source.key, source.etag, self._stack.bucket, source.target)

    def _write_manifests(self, plan: Adoption) -> None:
        bucket, manifest = self._stack.bucket, plan.manifest
        for part in plan.parts:
            self._objects.put_new(bucket, part_manifest_key(manifest.edge, manifest.association, part.part), to_json(part))
        self._objects.put_new(bucket, manifest_key(manifest.edge, manifest.association), to_json(manifest))


def _folder(prefix: str) -> str:
    """The folder of the association that a prefix is in: instances/<edge>/<association>/."""
    return "/".join(prefix.split("/")[:3]) + "/"


def _chunks(listed: Iterable[StoredKey]) -> Iterator[Sequence[StoredKey]]:
    """So many objects as one import job takes: an association of one part, where nothing supersedes."""
    chunk: list[StoredKey] = []
    size_bytes = 0
    for one in listed:
        if chunk and (len(chunk) == PART_MAX_OBJECTS or size_bytes + one.size_bytes > PART_MAX_BYTES):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(one)
        size_bytes += one.size_bytes
    if chunk:
        yield chunk
