"""The operations on import jobs, on plain dictionaries: what server.py answers over HTTP.

Each checks fields, then existence, then what is its own. Times are epoch seconds, as rest-json has them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from local.healthimaging.datastores import require_active
from local.healthimaging.errors import ServiceError, invalid, not_found
from local.healthimaging.outputs import job_folder_uri
from local.healthimaging.store import new_id
from local.healthimaging.validation import JOB_STATUSES, Body, Page, check, check_choice, check_optional

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from local.healthimaging.faults import Faults
    from local.healthimaging.settings import Settings
    from local.healthimaging.store import Store

Answer = dict[str, Any]

_DAY_SECONDS = 86_400


class Runner(Protocol):
    """Takes up a job that stands in the store (runner.JobRunner)."""

    def run(self, job_id: str) -> None: ...


class ImportJobs:
    def __init__(self, *, store: Store, runner: Runner, settings: Settings, faults: Faults, now: Callable[[], float]) -> None:
        self._store = store
        self._runner = runner
        self._settings = settings
        self._faults = faults
        self._now = now

    def start(self, datastore_id: str, body: Body) -> Answer:
        """StartDICOMImportJob."""
        check("datastoreId", datastore_id)
        for name in ("dataAccessRoleArn", "clientToken", "inputS3Uri", "outputS3Uri"):
            check(name, body.get(name))
        for name in ("jobName", "inputOwnerAccountId"):
            check_optional(name, body)
        if body.get("importConfiguration") is not None:
            raise invalid("importConfiguration is not emulated: leave it out.")
        request = json.dumps(body, sort_keys=True)
        with self._store.transaction() as db:
            require_active(db, datastore_id)
            job = self._job_of_token(db, datastore_id, body["clientToken"])
            if job is not None and job["request"] != request:
                raise ServiceError("ConflictException", "The client token was used for another request.")
            fresh = job is None
            if job is None:
                job = self._new_job(db, datastore_id, body, request)
        if fresh:
            self._runner.run(job["id"])
        return {
            "datastoreId": datastore_id,
            "jobId": job["id"],
            "jobStatus": job["status"],
            "submittedAt": job["submitted_at"],
        }

    def get(self, datastore_id: str, job_id: str) -> Answer:
        """GetDICOMImportJob."""
        check("datastoreId", datastore_id)
        check("jobId", job_id)
        with self._store.transaction() as db:
            require_active(db, datastore_id)
            job = db.execute("SELECT * FROM job WHERE id = ? AND datastore_id = ?", (job_id, datastore_id)).fetchone()
        if job is None:
            raise not_found("import job")
        uris = {
            "inputS3Uri": job["input_uri"],
            "outputS3Uri": job_folder_uri(job["output_uri"], datastore_id, job_id),
        }
        return {"jobProperties": _summary(job) | uris}

    def list(self, datastore_id: str, status: str | None, page: Page) -> Answer:
        """ListDICOMImportJobs, newest first."""
        check("datastoreId", datastore_id)
        check_choice("jobStatus", status, JOB_STATUSES)
        oldest = self._now() - self._settings.jobs_kept_days * _DAY_SECONDS
        with self._store.transaction() as db:
            require_active(db, datastore_id)
            jobs = db.execute(
                "SELECT * FROM job WHERE datastore_id = ? AND status = ifnull(?, status) AND ifnull(ended_at, ?) >= ?"
                " ORDER BY submitted_at DESC, id LIMIT ? OFFSET ?",
                (datastore_id, status, oldest, oldest, page.size + 1, page.offset),
            ).fetchall()
        return {"jobSummaries": [_summary(job) for job in page.of(jobs)]} | page.next(len(jobs))

    def _job_of_token(self, db: sqlite3.Connection, datastore_id: str, token: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM job WHERE datastore_id = ? AND client_token = ? AND submitted_at > ? ORDER BY submitted_at DESC",
            (datastore_id, token, self._now() - self._settings.token_kept_seconds),
        ).fetchone()
        return row

    def _new_job(self, db: sqlite3.Connection, datastore_id: str, body: Body, request: str) -> sqlite3.Row:
        (running,) = db.execute(
            "SELECT count(*) FROM job WHERE datastore_id = ? AND status IN ('SUBMITTED', 'IN_PROGRESS')", (datastore_id,)
        ).fetchone()
        if running >= self._settings.concurrent_jobs:
            raise ServiceError(
                "ServiceQuotaExceededException",
                f"The limit of {self._settings.concurrent_jobs} concurrent import jobs of the data store is reached.",
            )
        job_id = new_id()
        db.execute(
            "INSERT INTO job (id, datastore_id, name, status, role_arn, input_uri, output_uri, client_token, request,"
            " submitted_at, faults) VALUES (?, ?, ?, 'SUBMITTED', ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job_id, datastore_id, body.get("jobName") or job_id, body["dataAccessRoleArn"]),
                *(body["inputS3Uri"], body["outputS3Uri"], body["clientToken"], request),
                *(self._now(), self._faults.of_next_job().to_json()),
            ),
        )
        row: sqlite3.Row = db.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
        return row


def _summary(job: sqlite3.Row) -> Answer:
    optional = {"endedAt": job["ended_at"], "message": job["message"]}
    return {
        "jobId": job["id"],
        "jobName": job["name"],
        "jobStatus": job["status"],
        "datastoreId": job["datastore_id"],
        "dataAccessRoleArn": job["role_arn"],
        "submittedAt": job["submitted_at"],
        **{name: value for name, value in optional.items() if value is not None},
    }
