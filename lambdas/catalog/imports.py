"""Rows of `import_job` and `image_set`, and the import's side of the ledger.

A part has at most one attempt that has not ended (a unique key sees to it), so that a job which runs is adopted and never
started twice. A status goes forward only: CLAIMED, SUBMITTED, IN_PROGRESS, then COMPLETED or FAILED. Results of an attempt
give way to those of a later one only. What an attempt imports stands in `scopes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lambdas.catalog.connection import Cursor
from lambdas.catalog.keys import object_hash
from lambdas.catalog.objects import LISTED_COLUMNS, Listed

CLAIMED = "CLAIMED"
SUBMITTED = "SUBMITTED"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
IMPORTED = "IMPORTED"
SUPERSEDED = "SUPERSEDED"

_LATEST = """
SELECT attempt, job_id, status, input_s3_uri, output_s3_uri
FROM import_job
WHERE association = %s AND part = %s
ORDER BY attempt DESC
LIMIT 1
"""

# Whoever comes second waits for the first one's commit, changes nothing, and then reads the first one's row.
_OPEN = """
INSERT INTO import_job
    (association, part, attempt, client_token, status, execution_arn, input_s3_uri, output_s3_uri, claimed_at)
VALUES (%s, %s, %s, %s, 'CLAIMED', %s, %s, %s, UTC_TIMESTAMP(3))
ON DUPLICATE KEY UPDATE association = VALUES(association)
"""

_ADOPT = "UPDATE import_job SET execution_arn = %s WHERE association = %s AND part = %s AND attempt = %s"

# Its results are whole, whatever its execution failed by afterwards.
_SETTLE = """
UPDATE import_job SET error = NULL, cause = NULL
WHERE association = %s AND part = %s AND attempt < %s AND status = 'COMPLETED'
"""

_EXISTS = "SELECT attempt FROM import_job WHERE association = %s AND part = %s AND attempt = %s"

_RECORD = """
UPDATE import_job
SET job_id = %(job_id)s, error = NULL, cause = NULL, submitted_at = COALESCE(submitted_at, UTC_TIMESTAMP(3)),
    ended_at = IF(%(status)s IN ('COMPLETED', 'FAILED'), COALESCE(ended_at, UTC_TIMESTAMP(3)), ended_at),
    status = IF(FIELD(%(status)s, 'CLAIMED', 'SUBMITTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED')
                > FIELD(status, 'CLAIMED', 'SUBMITTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'), %(status)s, status)
WHERE association = %(association)s AND part = %(part)s AND attempt = %(attempt)s
  AND status NOT IN ('COMPLETED', 'FAILED')
"""

_COMPLETE = """
UPDATE import_job
SET job_id = %(job_id)s, status = IF(status = 'FAILED', status, 'COMPLETED'), scanned = %(scanned)s, imported = %(imported)s,
    failed = %(failed)s, warned = %(warned)s, foreign_objects = %(foreign_objects)s, image_sets = %(image_sets)s,
    submitted_at = COALESCE(submitted_at, UTC_TIMESTAMP(3)), ended_at = COALESCE(ended_at, UTC_TIMESTAMP(3)),
    error = NULL, cause = NULL
WHERE association = %(association)s AND part = %(part)s AND attempt = %(attempt)s
"""

_FAIL = """
UPDATE import_job
SET error = %(error)s, cause = %(cause)s, job_id = COALESCE(job_id, NULLIF(%(job_id)s, '')),
    ended_at = IF(%(job_failed)s AND status <> 'COMPLETED', COALESCE(ended_at, UTC_TIMESTAMP(3)), ended_at),
    status = IF(%(job_failed)s AND status <> 'COMPLETED', 'FAILED', status)
WHERE association = %(association)s AND part = %(part)s AND attempt = %(attempt)s
"""

# Not once a job is recorded: that one runs.
_GIVE_UP = """
UPDATE import_job SET status = 'FAILED', error = %s, cause = %s, ended_at = UTC_TIMESTAMP(3)
WHERE association = %s AND part = %s AND attempt = %s AND status = 'CLAIMED' AND job_id IS NULL
"""

_RESULT_COLUMNS = (
    "import_job_id",
    "import_status",
    "image_set_id",
    "image_set_version",
    "image_set_is_primary",
    "import_warnings",
    "import_fault",
    "import_error",
    "import_error_message",
)
# import_attempt is compared before it changes: assignments run from left to right.
_KEEP_LATER = ",\n    ".join(
    [f"{name} = IF(VALUES(import_attempt) >= COALESCE(import_attempt, 0), VALUES({name}), {name})" for name in _RESULT_COLUMNS]
    + ["import_attempt = GREATEST(VALUES(import_attempt), COALESCE(import_attempt, 0))"]
)
_RESULTS = f"""
INSERT INTO stored_object ({LISTED_COLUMNS}, {", ".join(_RESULT_COLUMNS)}, import_attempt)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    {_KEEP_LATER}
"""  # noqa: S608 - of constants
_FOREIGN = f"""
INSERT INTO stored_object
    (object_hash, association, part, bucket, s3_key, is_foreign, {", ".join(_RESULT_COLUMNS)}, import_attempt)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    {_KEEP_LATER}
"""  # noqa: S608 - of constants

_NEWER = "COALESCE(VALUES(image_set_version), 0) >= COALESCE(image_set_version, 0)"
_IMAGE_SETS = f"""
INSERT INTO image_set
    (image_set_id, datastore_id, study_instance_uid, series_instance_uid, is_primary, association, import_job_id, recorded_at,
     image_set_version)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE
    study_instance_uid = COALESCE(study_instance_uid, VALUES(study_instance_uid)),
    series_instance_uid = COALESCE(series_instance_uid, VALUES(series_instance_uid)),
    is_primary = IF({_NEWER}, VALUES(is_primary), is_primary),
    association = IF({_NEWER}, VALUES(association), association),
    import_job_id = IF({_NEWER}, VALUES(import_job_id), import_job_id),
    recorded_at = IF({_NEWER}, VALUES(recorded_at), recorded_at),
    image_set_version = IF({_NEWER}, VALUES(image_set_version), image_set_version)
"""  # noqa: S608 - of constants

_FORGET_FOREIGN = "DELETE FROM stored_object WHERE association = %s AND is_foreign = 1 AND s3_key IN %s"

_NOW = "SELECT UTC_TIMESTAMP(3) AS now"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptKey:
    """One attempt to import one part. Attempts count from 1."""

    association: str
    part: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt as claimed. `job_id` is empty while no job was recorded."""

    attempt: int
    job_id: str
    status: str
    input_s3_uri: str
    output_s3_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectResult:
    """What became of one object. `warnings` is JSON. By a job's outputs it is IMPORTED (warned or not) or FAILED; SUPERSEDED
    is one that is left out, since a later association sent it again with other content."""

    status: str
    image_set_id: str | None = None
    image_set_version: int | None = None
    image_set_is_primary: bool | None = None
    warnings: str | None = None
    fault: str | None = None
    error: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSetResult:
    """An image set that a job made or added to. The UIDs are None when only foreign files are in it."""

    image_set_id: str
    study_instance_uid: str | None
    series_instance_uid: str | None
    version: int | None
    is_primary: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResults:
    """All that a job's outputs say: `listed` about the manifest's objects, `foreign` about other keys below the prefix."""

    job_id: str
    datastore_id: str
    bucket: str
    scanned: int
    listed: Sequence[tuple[Listed, ObjectResult]]
    foreign: Sequence[tuple[str, ObjectResult]]
    image_sets: Sequence[ImageSetResult]

    @property
    def imported(self) -> int:
        return sum(result.status == IMPORTED for _, result in self.listed)

    @property
    def failed(self) -> int:
        return sum(result.status == FAILED for _, result in self.listed)

    @property
    def warned(self) -> int:
        return sum(result.warnings is not None for _, result in self.listed)


def latest_attempt(cursor: Cursor, association: str, part: int) -> Attempt | None:
    """The newest attempt of a part, or None."""
    row = cursor.row(_LATEST, (association, part))
    return None if row is None else Attempt(**row | {"job_id": row["job_id"] or ""})


def open_attempt(
    cursor: Cursor, key: AttemptKey, *, client_token: str, execution_arn: str, input_s3_uri: str, output_s3_uri: str
) -> bool:
    """Open an attempt; False when somebody else has: read `latest_attempt` then."""
    row = (key.association, key.part, key.attempt, client_token, execution_arn, input_s3_uri, output_s3_uri)
    opened = cursor.execute(_OPEN, row) == 1
    cursor.execute(_SETTLE, (key.association, key.part, key.attempt))
    return opened


def adopt(cursor: Cursor, key: AttemptKey, execution_arn: str) -> None:
    """Note which execution drives the attempt from now on."""
    cursor.execute(_ADOPT, (execution_arn, key.association, key.part, key.attempt))


def exists(cursor: Cursor, key: AttemptKey) -> bool:
    return cursor.row(_EXISTS, (key.association, key.part, key.attempt)) is not None


def record_job(cursor: Cursor, key: AttemptKey, job_id: str, status: str) -> None:
    """Note the job and its status; an ended attempt stays as it is."""
    cursor.execute(
        _RECORD,
        {"association": key.association, "part": key.part, "attempt": key.attempt, "job_id": job_id, "status": status},
    )


def record_failure(cursor: Cursor, key: AttemptKey, *, job_id: str, job_failed: bool, error: str, cause: str) -> None:
    """Note an error; the attempt has FAILED, and gives way to the next, only when its job has."""
    arguments = {
        "association": key.association,
        "part": key.part,
        "attempt": key.attempt,
        "job_id": job_id,
        "job_failed": job_failed,
        "error": error,
        "cause": cause,
    }
    cursor.execute(_FAIL, arguments)


def give_up(cursor: Cursor, key: AttemptKey, *, error: str, cause: str) -> bool:
    """End an attempt that has no job, so that it gives way to the next; False when it has one by now, or has ended."""
    return cursor.execute(_GIVE_UP, (error, cause, key.association, key.part, key.attempt)) == 1


def record_results(cursor: Cursor, key: AttemptKey, results: JobResults) -> None:
    """Record every object's result and every image set, and end the attempt."""
    cursor.execute(
        _COMPLETE,
        {
            "association": key.association,
            "part": key.part,
            "attempt": key.attempt,
            "job_id": results.job_id,
            "scanned": results.scanned,
            "imported": results.imported,
            "failed": results.failed,
            "warned": results.warned,
            "foreign_objects": len(results.foreign),
            "image_sets": len(results.image_sets),
        },
    )
    record_objects(cursor, key, results.job_id, results.listed)
    foreign = [
        (
            object_hash(results.bucket, s3_key),
            key.association,
            key.part,
            results.bucket,
            s3_key,
            True,
            *_result_row(results.job_id, result),
            key.attempt,
        )
        for s3_key, result in results.foreign
    ]
    cursor.execute_rows(_FOREIGN, foreign)
    moment = cursor.rows(_NOW)[0]["now"]
    image_sets = [
        (
            one.image_set_id,
            results.datastore_id,
            one.study_instance_uid,
            one.series_instance_uid,
            one.is_primary,
            key.association,
            results.job_id,
            moment,
            one.version,
        )
        for one in results.image_sets
    ]
    cursor.execute_rows(_IMAGE_SETS, image_sets)


def record_objects(cursor: Cursor, key: AttemptKey, job_id: str | None, listed: Sequence[tuple[Listed, ObjectResult]]) -> None:
    """Record what became of objects of the manifest by this attempt; `job_id` is None of those that no job imports."""
    cursor.execute_rows(_RESULTS, [(*one.row(), *_result_row(job_id, result), key.attempt) for one, result in listed])


def forget_foreign(cursor: Cursor, association: str, s3_keys: Sequence[str]) -> None:
    """Take foreign objects that are removed from S3 out of the ledger."""
    cursor.execute(_FORGET_FOREIGN, (association, s3_keys))


def _result_row(job_id: str | None, result: ObjectResult) -> tuple[object, ...]:
    return (
        job_id,
        result.status,
        result.image_set_id,
        result.image_set_version,
        result.image_set_is_primary,
        result.warnings,
        result.fault,
        result.error,
        result.error_message,
    )
