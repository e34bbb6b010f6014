"""Import jobs: each runs in a thread of its own, from SUBMITTED to its end, and from wherever a kill has cut it off.

1. SUBMITTED -> IN_PROGRESS
2. scan the prefix; nothing is kept of it until
3. one transaction places the objects in image sets and keeps the outcome
4. write the outputs to S3, the manifest last
5. IN_PROGRESS -> COMPLETED (or FAILED, with a message and without outputs)

A test may have 4 come after 5, as the service's outputs sometimes do, or leave files out. Every step may be repeated.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from local.healthimaging.faults import Faults, JobFaults
from local.healthimaging.outputs import FileFailure, Outcome, job_folder_uri, output_files, warning_line
from local.healthimaging.placement import place
from local.healthimaging.scan import JobFailedError, scan, split_uri

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from local.healthimaging.events import ServiceEvents
    from local.healthimaging.settings import Settings
    from local.healthimaging.store import Store

_SCANS_AT_ONCE = 2
_S3_TRIES = 30
_S3_RETRY_SECONDS = 1.0
_SUBMITTED_SHARE = 0.1  # of a job's time that it stays SUBMITTED

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class JobRunner:
    """Runs the jobs that are in the store."""

    def __init__(
        self,
        *,
        store: Store,
        s3: S3Client,
        settings: Settings,
        faults: Faults,
        events: ServiceEvents,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._s3 = s3
        self._settings = settings
        self._faults = faults
        self._events = events
        self._now = now
        self._stopping = threading.Event()
        self._scans = threading.Semaphore(_SCANS_AT_ONCE)

    def resume(self) -> None:
        """Take up every job that has not ended, or has not written its outputs."""
        with self._store.transaction() as db:
            unfinished = db.execute("SELECT id FROM job WHERE outputs_written = 0 AND status <> 'FAILED'").fetchall()
        for row in unfinished:
            self.run(row["id"])

    def run(self, job_id: str) -> None:
        """Start the thread of a job that was written to the store."""
        threading.Thread(target=self._run, args=(job_id,), name=f"job-{job_id}", daemon=True).start()

    def stop(self) -> None:
        """Let no job change anything more. They go on when the emulator starts again."""
        self._stopping.set()

    def _run(self, job_id: str) -> None:
        job = self._job(job_id)
        faults = JobFaults.from_json(job["faults"])
        job_seconds = self._settings.job_seconds if faults.job_seconds is None else faults.job_seconds
        try:
            if job["status"] == "SUBMITTED":
                self._events.import_job(job, "Submitted")
                self._wait_until(job["submitted_at"] + job_seconds * _SUBMITTED_SHARE)
                job = self._set_status(job, "IN_PROGRESS")
                self._events.import_job(job, "In Progress")
            if faults.fails:
                self._wait_until(job["submitted_at"] + job_seconds)
                raise JobFailedError("This failure was asked for by a test")  # noqa: TRY301 - the handler below is its reader
            outcome = Outcome.from_json(job["outcome"]) if job["outcome"] else self._while_s3_is_away(lambda: self._import(job))
            self._wait_until(job["submitted_at"] + job_seconds)
            if faults.outputs_late_seconds and job["status"] == "IN_PROGRESS":
                job = self._complete(job)
            self._wait_until((job["ended_at"] or 0) + faults.outputs_late_seconds)
            self._while_s3_is_away(lambda: self._write_outputs(job, outcome, faults))
            if job["status"] == "IN_PROGRESS":
                self._complete(job)
        except JobFailedError as error:
            self._events.import_job(self._set_status(job, "FAILED", f"DICOM import job has failed.\n{error}"), "Failed")
        except _StoppingError:
            pass
        except Exception:
            log.exception("Import job %s met a fault of the emulator", job_id)
            self._set_status(job, "FAILED", "DICOM import job has failed.\nInternal server error")

    def _import(self, job: sqlite3.Row) -> Outcome:
        with self._scans:
            found = scan(self._s3, job["input_uri"], self._faults, self._settings)
        self._check_stopping()
        warnings = {
            header.key: [warning_line(warning) for warning in header.warnings] for header in found.headers if header.warnings
        }
        with self._store.transaction() as db:
            limit = self._settings.image_set_max_metadata_bytes
            image_sets, refused = place(db, job["datastore_id"], found.headers, self._now(), max_metadata_bytes=limit)
            too_large = [FileFailure(key, "ValidationException", f"Metadata exceeds {limit} bytes") for key in refused]
            outcome = Outcome(image_sets, [*found.failures, *too_large], warnings)
            db.execute("UPDATE job SET outcome = ? WHERE id = ?", (outcome.to_json(), job["id"]))
        for image_set in image_sets:
            self._events.image_set(
                job["datastore_id"],
                image_set.id,
                version=image_set.version,
                is_primary=image_set.is_primary,
                what="Created" if image_set.version == 1 else "Updated",
            )
        return outcome

    def _write_outputs(self, job: sqlite3.Row, outcome: Outcome, faults: JobFaults) -> None:
        folder_uri = job_folder_uri(job["output_uri"], job["datastore_id"], job["id"])
        bucket, folder = split_uri(folder_uri)
        files = output_files(
            job_id=job["id"],
            datastore_id=job["datastore_id"],
            input_uri=job["input_uri"],
            folder_uri=folder_uri,
            outcome=outcome,
            warned_also_in_success=self._settings.warned_also_in_success,
        )
        for name, content in files:
            if name in faults.missing_outputs:
                continue
            try:
                self._s3.put_object(Bucket=bucket, Key=folder + name, Body=content)
            except ClientError as error:
                raise JobFailedError("The output bucket could not be written") from error
        with self._store.transaction() as db:
            db.execute("UPDATE job SET outputs_written = 1 WHERE id = ?", (job["id"],))

    def _complete(self, job: sqlite3.Row) -> sqlite3.Row:
        job = self._set_status(job, "COMPLETED")
        self._events.import_job(job, "Completed")
        return job

    def _set_status(self, job: sqlite3.Row, status: str, message: str | None = None) -> sqlite3.Row:
        ended_at = self._now() if status in {"COMPLETED", "FAILED"} else None
        with self._store.transaction() as db:
            db.execute(
                "UPDATE job SET status = ?, message = ?, ended_at = ? WHERE id = ?", (status, message, ended_at, job["id"])
            )
        return self._job(job["id"])

    def _job(self, job_id: str) -> sqlite3.Row:
        with self._store.transaction() as db:
            row: sqlite3.Row = db.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
        return row

    def _while_s3_is_away(self, act: Callable[[], Result]) -> Result:
        for _ in range(_S3_TRIES):
            try:
                return act()
            except BotoCoreError as error:
                log.warning("S3 is away: %s", type(error).__name__)
                self._wait_until(self._now() + _S3_RETRY_SECONDS)
        raise JobFailedError("S3 could not be reached")

    def _wait_until(self, moment: float) -> None:
        self._stopping.wait(max(0.0, moment - self._now()))
        self._check_stopping()

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise _StoppingError


class _StoppingError(Exception):
    """The emulator is going down: leave the job as it is."""
