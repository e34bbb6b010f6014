"""Claim the attempt by which a part is imported: the one that is open, or the next, with what it is to import.

An attempt that has not ended is adopted; but one without a job gives way to the next when that would import other objects:
without those sent again since, or with those that `force` adds. After one that FAILED comes another with the same objects;
after one that is COMPLETED comes another for the objects that failed by HealthImaging's own fault, at most
SERVICE_FAULT_RETRIES times in a row, or for those that an operator asks for. Objects that a later association has sent again
with other content are left out, or the import would undo the newer one; `force` imports them nevertheless, also those that
were left out before.

An attempt without a job may have been started all the same, its job never recorded, and HealthImaging may have forgotten its
token since. A job that has written outputs is found by them, here; one that still runs by its name, in `import.asl.json`.
One that FAILED without outputs may be started again.

HealthImaging imports whole prefixes. An attempt for some objects of a part imports copies of them, below a prefix of its
own: which ones is written here, and `staging` makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from contract.keys import imports_prefix, instances_prefix, retries_prefix
from contract.manifest import Entry
from contract.strict import ContractError
from lambdas.adapters.aws import Storage
from lambdas.catalog import Catalog, associations, imports, scopes
from lambdas.catalog.associations import Origin
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import CLAIMED, COMPLETED, FAILED, SUBMITTED, SUPERSEDED, Attempt, AttemptKey, ObjectResult
from lambdas.catalog.keys import uid_column
from lambdas.catalog.objects import Listed
from lambdas.catalog.scopes import Instance, Reason, Scope, StagedCopy
from lambdas.errors import CatalogUnavailableError, UnknownAssociationError
from lambdas.logic.manifests import list_part

SERVICE_FAULT_RETRIES = 3
CUSTOMER, SERVER = "CUSTOMER", "SERVER"
NOT_STARTED = "Import.NotStarted"
"""The error of an attempt that had no job, and gave way to the next, which imports other objects."""
NOTHING = "NOTHING"
"""The status of a claim when every object is left out: there is no attempt, and no job to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of an association, as the import machine knows it. `failed_only`: import again what is not imported."""

    association: str
    edge: str
    bucket: str
    part: int
    force: bool
    failed_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The attempt to go on with. `staged` is the number of copies that it imports, 0 when it imports the part's prefix.

    `adopted`: it was claimed before, and no job of it is recorded. One may have been started all the same.
    """

    attempt: int
    job_id: str
    status: str
    staged: int
    input_s3_uri: str
    output_s3_uri: str
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """What a job imported, as itself says: its inputS3Uri, and the keys that it found there; where nobody can tell, nothing."""

    s3_uri: str = ""
    keys: Set[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The attempt that comes next; `positions` is None for the whole part.

    `after` is the open one without a job, which it follows only when it would import other objects: `wider` says that it
    would import more.
    """

    attempt: int
    reason: Reason
    positions: Sequence[int] | None = None
    after: int | None = None
    wider: bool = False


def claim(
    catalog: Catalog, storage: Storage, part: Part, *, execution_arn: str, made: Mapping[int, JobInput] | None = None
) -> Claim:
    """The attempt of this part that goes on. Safe to call side by side.

    An attempt that is `made` already, of which `rebuild` knows the job, is opened with what the job imported; ContractError
    where nothing that is known calls for that.

    Raises UnknownAssociationError, ContractError, and those of Catalog and Storage.
    """

    def look(cursor: Cursor) -> tuple[Claim | _Wanted, Origin]:
        origin = associations.origin(cursor, part.association)
        if origin is None:
            raise UnknownAssociationError(f"{part.association} is not in the catalog: register it first")
        following = _next(cursor, part)
        return following if isinstance(following, _Wanted) else _adopt(cursor, part, following, execution_arn), origin

    found, origin = catalog.transaction(look)
    if isinstance(found, Claim):
        return found
    if found.after is not None and made is None and _find_job(catalog, storage, part, found.after):
        return claim(catalog, storage, part, execution_arn=execution_arn)
    listed = list_part(storage, part.bucket, part.edge, part.association, part.part, origin=origin)
    job = (made or {}).get(found.attempt)
    return catalog.transaction(
        lambda cursor: _open(cursor, part, found, listed, origin=origin, execution_arn=execution_arn, job=job)
    )


def _find_job(catalog: Catalog, storage: Storage, part: Part, attempt: int) -> bool:
    """Record the job of an attempt that was started, and its id never recorded, by the outputs that it has written."""
    prefix = imports_prefix(part.edge, part.association, part.part, attempt)
    folders = (folder.partition("-DicomImport-") for folder in storage.folders(part.bucket, prefix))
    job_id = next((job_id for _, named, job_id in folders if named), "")
    if job_id:
        catalog.transaction(lambda cursor: imports.record_job(cursor, _key(part, attempt), job_id, SUBMITTED))
    return bool(job_id)


def retryable(cursor: Cursor, association: str, part: int) -> list[int]:
    """The objects of a part that are to be imported again by themselves, as positions in its manifest."""
    in_a_row = 0
    for reason in scopes.reasons(cursor, association, part):
        if reason is not Reason.SERVICE_FAULT:
            break
        in_a_row += 1
    return scopes.positions(cursor, association, part, FAILED, SERVER) if in_a_row < SERVICE_FAULT_RETRIES else []


def client_token(association: str, part: int, attempt: int) -> str:
    """The token that `import.asl.json` gives to StartDICOMImportJob, so that a repeat gets the same job."""
    return hashlib.sha256(f"{association}/{part}/{attempt}".encode()).hexdigest()


def _next(cursor: Cursor, part: Part) -> Attempt | _Wanted:
    """The attempt that goes on; or the one to open, after one that ended and left something to do, or has no job."""
    latest = imports.latest_attempt(cursor, part.association, part.part)
    if latest is None:
        return _Wanted(attempt=1, reason=Reason.WHOLE)
    if latest.status == FAILED:
        return _again(cursor, part, latest.attempt)
    if latest.status == COMPLETED:
        return _left_to_do(cursor, part, latest.attempt + 1) or latest
    if latest.status == CLAIMED and not latest.job_id:
        return replace(_again(cursor, part, latest.attempt), after=latest.attempt)
    return latest


def _again(cursor: Cursor, part: Part, attempt: int) -> _Wanted:
    """The attempt after this one, with the same objects."""
    before = scopes.reasons(cursor, part.association, part.part)
    copied = [one.position for one in scopes.copies(cursor, _key(part, attempt))]
    reason = before[0] if before else Reason.WHOLE
    return _forced(cursor, part, _Wanted(attempt=attempt + 1, reason=reason, positions=copied or None))


def _left_to_do(cursor: Cursor, part: Part, following: int) -> _Wanted | None:
    reason, positions = Reason.SERVICE_FAULT, retryable(cursor, part.association, part.part)
    if part.failed_only and not positions:
        reason, positions = Reason.FAILED_ONLY, scopes.not_imported(cursor, part.association, part.part)
    wanted = _forced(cursor, part, _Wanted(attempt=following, reason=reason, positions=positions))
    return wanted if wanted.positions else None


def _forced(cursor: Cursor, part: Part, wanted: _Wanted) -> _Wanted:
    """By force, also with the objects that were left out until now."""
    if not part.force or wanted.positions is None:
        return wanted
    left_out = set(scopes.positions(cursor, part.association, part.part, SUPERSEDED)) - set(wanted.positions)
    if not left_out:
        return wanted
    return replace(wanted, reason=Reason.FORCED, positions=sorted({*wanted.positions, *left_out}), wider=True)


def _adopt(cursor: Cursor, part: Part, attempt: Attempt, execution_arn: str) -> Claim:
    key = _key(part, attempt.attempt)
    imports.adopt(cursor, key, execution_arn)
    return Claim(
        attempt=attempt.attempt,
        job_id=attempt.job_id,
        status=attempt.status,
        staged=len(scopes.copies(cursor, key)),
        input_s3_uri=attempt.input_s3_uri,
        output_s3_uri=attempt.output_s3_uri,
        adopted=not attempt.job_id,
    )


def _open(
    cursor: Cursor,
    part: Part,
    wanted: _Wanted,
    listed: Sequence[Listed],
    *,
    origin: Origin,
    execution_arn: str,
    job: JobInput | None,
) -> Claim:
    """Open the attempt that is wanted, without what is superseded; or adopt the open one, when that is as good."""
    candidates = listed if wanted.positions is None else [listed[position] for position in wanted.positions]
    superseded = _superseded(cursor, part, candidates, origin)
    left_out = {} if part.force else superseded
    kept = [one for one in candidates if one.position not in left_out]
    if job is not None:
        kept, left_out = _imported_by(job, part, wanted, candidates=candidates, kept=kept, left_out=left_out, of=len(listed))
    if wanted.after is not None and not (
        (left_out or wanted.wider) and _give_up(cursor, _key(part, wanted.after), superseded=len(left_out))
    ):
        return _adopt_open(cursor, part, execution_arn)
    scope = _scope(part, wanted, kept, whole=len(kept) == len(listed), left_out=len(superseded if part.force else left_out))
    key = _key(part, wanted.attempt)
    input_s3_uri = f"s3://{part.bucket}/{_input_prefix(part, wanted.attempt, staged=bool(scope.copies))}"
    output_s3_uri = f"s3://{part.bucket}/{imports_prefix(part.edge, part.association, part.part, wanted.attempt)}"
    if kept and not imports.open_attempt(
        cursor,
        key,
        client_token=client_token(part.association, part.part, wanted.attempt),
        execution_arn=execution_arn,
        input_s3_uri=input_s3_uri,
        output_s3_uri=output_s3_uri,
    ):
        return _adopt_open(cursor, part, execution_arn)
    scopes.write(cursor, key, scope)
    results = [(one, _left_out_for(left_out[one.position])) for one in candidates if one.position in left_out]
    imports.record_objects(cursor, key, None, results)
    return Claim(
        attempt=wanted.attempt,
        job_id="",
        status="CLAIMED" if kept else NOTHING,
        staged=len(scope.copies),
        input_s3_uri=input_s3_uri,
        output_s3_uri=output_s3_uri,
    )


def _imported_by(
    job: JobInput,
    part: Part,
    wanted: _Wanted,
    *,
    candidates: Sequence[Listed],
    kept: list[Listed],
    left_out: dict[int, str],
    of: int,
) -> tuple[list[Listed], dict[int, str]]:
    """(kept, left out) as the job had them; `of` is how many objects the part has.

    An object that the job left out of a whole part was superseded, though the later association may not be known yet. One
    that it left out for no reason that is known has no result of this attempt.
    """
    own, copies = (f"s3://{part.bucket}/{_input_prefix(part, wanted.attempt, staged=staged)}" for staged in (False, True))
    if job.s3_uri == own:
        kept, left_out = list(candidates), {}
    elif job.keys is not None:
        kept = [one for one in candidates if _copy_key(part, wanted.attempt, one) in job.keys]
        gone = {one.position for one in candidates} - {one.position for one in kept}
        if wanted.positions is not None or part.force:
            gone &= left_out.keys()
        left_out = {position: left_out.get(position, "a later association") for position in gone}
    strange = job.s3_uri == copies and job.keys is not None and len(job.keys) != len(kept)
    if not kept or strange or job.s3_uri != (own if len(kept) == of else copies):
        why = "nothing that is known explains" if job.s3_uri else "its outputs do not tell"
        raise ContractError(f"part {part.part}, attempt {wanted.attempt}: {why} what its job imported")
    return kept, left_out


def _give_up(cursor: Cursor, key: AttemptKey, *, superseded: int) -> bool:
    cause = f"{superseded} of its objects were sent again with other content" if superseded else "more objects were forced"
    return imports.give_up(cursor, key, error=NOT_STARTED, cause=f"no job was recorded, and {cause}")


def _adopt_open(cursor: Cursor, part: Part, execution_arn: str) -> Claim:
    """Adopt the attempt that somebody else has opened, or that needs no other."""
    opened = imports.latest_attempt(cursor, part.association, part.part)
    if opened is None or opened.status == FAILED:
        raise CatalogUnavailableError(f"{part.association}, part {part.part}: another execution is opening an attempt")
    return _adopt(cursor, part, opened, execution_arn)


def _superseded(cursor: Cursor, part: Part, candidates: Sequence[Listed], origin: Origin) -> dict[int, str]:
    """The later association, by position of the objects that one has sent again with other content."""
    contents = {one.position: (_instance(one.entry), one.entry.digest) for one in candidates}
    later = scopes.sent_again(cursor, part.association, part.part, origin, set(contents.values()))
    return {position: later[content] for position, content in contents.items() if content in later}


def _instance(entry: Entry) -> Instance:
    return Instance(*(uid_column(getattr(entry, name)) for name in Instance._fields))


def _scope(part: Part, wanted: _Wanted, kept: Sequence[Listed], *, whole: bool, left_out: int) -> Scope:
    reason = wanted.reason
    if reason in (Reason.WHOLE, Reason.FORCED, Reason.SUPERSEDED) and wanted.positions is None:
        reason = Reason.WHOLE if not left_out else Reason.FORCED if part.force else Reason.SUPERSEDED
    scope = Scope(reason=reason, objects=len(kept), left_out=left_out)
    if whole:
        return scope
    copies = [
        StagedCopy(position=one.position, s3_key=one.entry.key, copy_key=_copy_key(part, wanted.attempt, one)) for one in kept
    ]
    return replace(scope, copies=copies)


def _input_prefix(part: Part, attempt: int, *, staged: bool) -> str:
    if staged:
        return retries_prefix(part.edge, part.association, part.part, attempt)
    return instances_prefix(part.edge, part.association, part.part)


def _copy_key(part: Part, attempt: int, one: Listed) -> str:
    own, staged = _input_prefix(part, attempt, staged=False), _input_prefix(part, attempt, staged=True)
    return staged + one.entry.key.removeprefix(own)


def _left_out_for(later: str) -> ObjectResult:
    return ObjectResult(status=SUPERSEDED, error="Superseded", error_message=f"{later} sent it again with other content")


def _key(part: Part, attempt: int) -> AttemptKey:
    return AttemptKey(association=part.association, part=part.part, attempt=attempt)
