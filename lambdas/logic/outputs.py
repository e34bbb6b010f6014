"""Reads the outputs of a HealthImaging import job, and records what became of every file.

Files are keyed by `inputFile`: one that is warned about is imported, and may stand in SUCCESS too. An output that is
missing is empty, except the manifest: a job that is COMPLETED writes it, sometimes some seconds later
(HealthImaging Developer Guide, "Interpreting import jobs"). The manifest says how many files were scanned: outputs that tell
of fewer, and not of every object, are late too, and nothing is recorded of them: a part's results are whole, or not there.
Should they never become so, an operator may `force` them: the ledger then says of which objects nothing is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contract.keys import RETRIES_PREFIX
from contract.strict import ContractError
from lambdas.adapters.aws import Storage
from lambdas.catalog import Catalog, associations, imports, scopes
from lambdas.catalog.associations import Origin
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import FAILED, IMPORTED, AttemptKey, ImageSetResult, JobResults, ObjectResult
from lambdas.catalog.keys import uid_column
from lambdas.catalog.objects import Listed
from lambdas.catalog.scopes import StagedCopy
from lambdas.errors import OutputsMissingError, StorageNotFoundError, UnknownAssociationError
from lambdas.logic.claiming import CUSTOMER, SERVER, JobInput, retryable
from lambdas.logic.manifests import list_part

# Exceptions of the service's own (the API's InternalServerException and ThrottlingException); all others are the file's.
_SERVER_EXCEPTIONS = ("Internal", "Throttling", "Server", "Service", "Timeout")
_OUTPUTS = ("SUCCESS/success.ndjson", "WARNING/warning.ndjson", "FAILURE/failure.ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedCounts:
    """`retry` objects failed by HealthImaging's own fault and are to be imported again; the others count this job's files."""

    imported: int
    failed: int
    warned: int
    foreign: int
    image_sets: int
    retry: int


def collect(
    catalog: Catalog,
    storage: Storage,
    key: AttemptKey,
    *,
    edge: str,
    bucket: str,
    job_id: str,
    job_output_s3_uri: str,
    force: bool = False,
) -> CollectedCounts:
    """Record the results of the objects and image sets of a COMPLETED job. A repeat records the same.

    Raises OutputsMissingError while outputs are missing, UnknownAssociationError, ContractError, and those of Catalog and
    Storage.
    """

    def read(cursor: Cursor) -> tuple[Origin | None, list[StagedCopy]]:
        return associations.origin(cursor, key.association), scopes.copies(cursor, key)

    origin, copies = catalog.transaction(read)
    if origin is None:
        raise UnknownAssociationError(f"{key.association} is not in the catalog: register it first")
    of_part = list_part(storage, bucket, edge, key.association, key.part, origin=origin)
    listed = {one.copy_key: of_part[one.position] for one in copies} or {one.entry.key: one for one in of_part}
    folder_bucket, folder = _split_uri(job_output_s3_uri)
    summary = _summary(storage, folder_bucket, folder)
    lines = [line for name in _OUTPUTS for line in _lines(storage, folder_bucket, folder + name)]
    try:
        results = _results(summary, lines, listed, job_id=job_id, bucket=bucket)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"the job's outputs: not of the form that is known ({type(error).__name__})") from None
    told = len(results.listed) + len(results.foreign)
    if told < results.scanned and len(results.listed) < len(listed) and not force:
        raise OutputsMissingError(f"the job scanned {results.scanned} files, and its outputs tell of {told} yet")

    def work(cursor: Cursor) -> int:
        if not imports.exists(cursor, key):
            raise UnknownAssociationError(
                f"{key.association}, part {key.part}: there is no attempt {key.attempt} in the catalog"
            )
        imports.record_results(cursor, key, results)
        return len(retryable(cursor, key.association, key.part))

    retry = catalog.transaction(work)
    return CollectedCounts(
        imported=results.imported,
        failed=results.failed,
        warned=results.warned,
        foreign=len(results.foreign),
        image_sets=len(results.image_sets),
        retry=retry,
    )


def job_input(storage: Storage, job_output_s3_uri: str) -> JobInput:
    """What a COMPLETED job imported. Which keys is read of one that imported copies only: of any other it is the whole part.

    Raises OutputsMissingError, ContractError, and those of Storage.
    """
    bucket, folder = _split_uri(job_output_s3_uri)
    summary = _summary(storage, bucket, folder)
    s3_uri = summary.get("inputS3Uri")
    if not isinstance(s3_uri, str):
        raise ContractError("job-output-manifest.json: expected an inputS3Uri")
    if not s3_uri.startswith(f"s3://{bucket}/{RETRIES_PREFIX}"):
        return JobInput(s3_uri=s3_uri)
    lines = [line for name in _OUTPUTS for line in _lines(storage, bucket, folder + name)]
    try:
        keys = {_result(line, bucket)[0] for line in lines}
        told_of_all = len(keys) >= int(summary["numberOfScannedFiles"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"the job's outputs: not of the form that is known ({type(error).__name__})") from None
    return JobInput(s3_uri=s3_uri, keys=keys if told_of_all else None)


def _summary(storage: Storage, bucket: str, folder: str) -> Mapping[str, Any]:
    try:
        raw = storage.read(bucket, folder + "job-output-manifest.json")
    except StorageNotFoundError:
        raise OutputsMissingError("the job has not written its job-output-manifest.json yet") from None
    try:
        summary: Mapping[str, Any] = json.loads(raw)["jobSummary"]
    except (ValueError, KeyError, TypeError):
        raise ContractError("job-output-manifest.json: expected a JSON object with a jobSummary") from None
    return summary


def _lines(storage: Storage, bucket: str, s3_key: str) -> Iterator[Mapping[str, Any]]:
    try:
        raw = storage.read(bucket, s3_key)
    except StorageNotFoundError:
        return
    for line in raw.splitlines():
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                raise ContractError(f"{s3_key.rsplit('/', 1)[-1]}: a line is not JSON") from None


def _results(
    summary: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], listed: Mapping[str, Listed], *, job_id: str, bucket: str
) -> JobResults:
    by_key: dict[str, ObjectResult] = {}
    for line in lines:
        s3_key, result = _result(line, bucket)
        by_key[s3_key] = _merged(by_key.get(s3_key), result)
    return JobResults(
        job_id=job_id,
        datastore_id=str(summary.get("datastoreId", "")),
        bucket=bucket,
        scanned=int(summary.get("numberOfScannedFiles", len(listed))),
        listed=[(listed[s3_key], result) for s3_key, result in by_key.items() if s3_key in listed],
        foreign=[(s3_key, result) for s3_key, result in by_key.items() if s3_key not in listed],
        image_sets=_image_sets(summary, by_key, listed),
    )


def _result(line: Mapping[str, Any], bucket: str) -> tuple[str, ObjectResult]:
    s3_key = str(line["inputFile"]).removeprefix(f"s3://{bucket}/").removeprefix("/")
    if "exception" in line:
        exception = line["exception"]
        name = str(exception.get("exceptionType", ""))
        fault = SERVER if any(word in name for word in _SERVER_EXCEPTIONS) else CUSTOMER
        return s3_key, ObjectResult(
            status=FAILED, fault=fault, error=name[:256], error_message=str(exception.get("message", ""))
        )
    response = line.get("importResponse", {})
    warned = response.get("warnings")
    return s3_key, ObjectResult(
        status=IMPORTED,
        image_set_id=response.get("imageSetId"),
        image_set_version=_integer(response.get("imageSetVersion")),
        image_set_is_primary=response.get("isPrimary"),
        warnings=json.dumps(warned, ensure_ascii=False) if warned else None,
    )


def _merged(before: ObjectResult | None, result: ObjectResult) -> ObjectResult:
    """One result for a file that stands in several outputs: a failure counts, else what a warning adds to a success."""
    if before is None or result.status == FAILED:
        return result
    if before.status == FAILED:
        return before
    return replace(
        result,
        image_set_id=result.image_set_id or before.image_set_id,
        image_set_version=result.image_set_version if result.image_set_version is not None else before.image_set_version,
        image_set_is_primary=(
            result.image_set_is_primary if result.image_set_is_primary is not None else before.image_set_is_primary
        ),
        warnings=result.warnings or before.warnings,
    )


def _image_sets(
    summary: Mapping[str, Any], by_key: Mapping[str, ObjectResult], listed: Mapping[str, Listed]
) -> list[ImageSetResult]:
    """The job's image sets, of its summary and of its files; older summaries lack version and primary."""
    found: dict[str, ImageSetResult] = {}
    for s3_key, result in by_key.items():
        if result.image_set_id is None:
            continue
        entry = listed[s3_key].entry if s3_key in listed else None
        one = ImageSetResult(
            image_set_id=result.image_set_id,
            study_instance_uid=uid_column(entry.study_instance_uid) if entry else None,
            series_instance_uid=uid_column(entry.series_instance_uid) if entry else None,
            version=result.image_set_version,
            is_primary=result.image_set_is_primary,
        )
        before = found.get(one.image_set_id)
        if before is None or (before.version or 0, before.series_instance_uid or "") < (
            one.version or 0,
            one.series_instance_uid or "",
        ):
            found[one.image_set_id] = one
    for told in summary.get("imageSetsSummary", []):
        known = found.get(told["imageSetId"]) or ImageSetResult(
            image_set_id=told["imageSetId"], study_instance_uid=None, series_instance_uid=None, version=None, is_primary=None
        )
        version, primary = _integer(told.get("imageSetVersion")), told.get("isPrimary")
        found[known.image_set_id] = replace(
            known,
            version=version if version is not None else known.version,
            is_primary=primary if primary is not None else known.is_primary,
        )
    return list(found.values())


def _integer(value: object) -> int | None:
    return None if value is None else int(str(value))


def _split_uri(uri: str) -> tuple[str, str]:
    """(bucket, prefix ending in `/`) of an S3 URI."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ContractError("job_output_s3_uri: expected s3://bucket/prefix/")
    return bucket, prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
