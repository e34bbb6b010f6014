"""The operations of the service, on plain dictionaries: what server.py answers over HTTP.

Each checks, in this order: rate, fields, existence, then what is its own. Times are epoch seconds, as rest-json has them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from local.healthimaging import readback
from local.healthimaging.errors import ServiceError, invalid, not_found
from local.healthimaging.outputs import job_folder_uri
from local.healthimaging.readback import arn_of
from local.healthimaging.store import new_id
from local.healthimaging.throttle import Throttle
from local.healthimaging.validation import (
    DATASTORE_STATUSES,
    JOB_STATUSES,
    Body,
    check,
    check_choice,
    check_optional,
    check_page,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from local.healthimaging.faults import Faults
    from local.healthimaging.settings import Settings
    from local.healthimaging.store import Store

Answer = dict[str, Any]

_OPEN = ("SUBMITTED", "IN_PROGRESS")


class Runner(Protocol):
    """Takes up a job that stands in the store (jobs.JobRunner)."""

    def run(self, job_id: str) -> None: ...


class Service:
    """One emulated account and region."""

    def __init__(
        self,
        *,
        store: Store,
        runner: Runner,
        settings: Settings,
        faults: Faults,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._runner = runner
        self._settings = settings
        self._faults = faults
        self._now = now
        self._throttle = Throttle(settings.rates, monotonic)

    # Import jobs

    def start_dicom_import_job(self, datastore_id: str, body: Body) -> Answer:
        self._throttle.take("StartDICOMImportJob")
        self._faults.at_start_request()
        check("datastoreId", datastore_id)
        for name in ("dataAccessRoleArn", "clientToken", "inputS3Uri", "outputS3Uri"):
            check(name, body.get(name))
        for name in ("jobName", "inputOwnerAccountId"):
            check_optional(name, body)
        if body.get("importConfiguration") is not None:
            raise invalid("importConfiguration is not emulated: leave it out.")
        request = json.dumps(body, sort_keys=True)
        with self._store.transaction() as db:
            _active_datastore(db, datastore_id)
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

    def get_dicom_import_job(self, datastore_id: str, job_id: str) -> Answer:
        self._throttle.take("GetDICOMImportJob")
        check("datastoreId", datastore_id)
        check("jobId", job_id)
        with self._store.transaction() as db:
            _active_datastore(db, datastore_id)
            job = db.execute("SELECT * FROM job WHERE id = ? AND datastore_id = ?", (job_id, datastore_id)).fetchone()
        if job is None:
            raise not_found("import job")
        uris = {
            "inputS3Uri": job["input_uri"],
            "outputS3Uri": job_folder_uri(job["output_uri"], datastore_id, job_id),
        }
        return {"jobProperties": _job_summary(job) | uris}

    def list_dicom_import_jobs(
        self, datastore_id: str, job_status: str | None, max_results: str | None, next_token: str | None
    ) -> Answer:
        self._throttle.take("ListDICOMImportJobs")
        check("datastoreId", datastore_id)
        check_choice("jobStatus", job_status, JOB_STATUSES)
        limit, offset = check_page(max_results, next_token)
        with self._store.transaction() as db:
            _active_datastore(db, datastore_id)
            jobs = db.execute(
                "SELECT * FROM job WHERE datastore_id = ? AND status = ifnull(?, status)"
                " ORDER BY submitted_at DESC, id LIMIT ? OFFSET ?",
                (datastore_id, job_status, limit + 1, offset),
            ).fetchall()
        return {"jobSummaries": [_job_summary(job) for job in jobs[:limit]]} | _next(len(jobs), limit, offset)

    # Image sets

    def get_image_set(self, datastore_id: str, image_set_id: str, version_id: str | None) -> Answer:
        self._throttle.take("GetImageSet")
        with self._store.transaction() as db:
            image_set = self._image_set(db, datastore_id, image_set_id, version_id)
        return readback.properties(image_set)

    def get_image_set_metadata(self, datastore_id: str, image_set_id: str, version_id: str | None) -> bytes:
        """The metadata document, gzip-compressed."""
        self._throttle.take("GetImageSetMetadata")
        with self._store.transaction() as db:
            image_set = self._image_set(db, datastore_id, image_set_id, version_id)
            instances = db.execute("SELECT * FROM instance WHERE image_set_id = ?", (image_set_id,)).fetchall()
        return readback.metadata_blob(image_set, instances)

    def search_image_sets(self, datastore_id: str, criteria: Body, max_results: str | None, next_token: str | None) -> Answer:
        self._throttle.take("SearchImageSets")
        check("datastoreId", datastore_id)
        limit, offset = check_page(max_results, next_token)
        matches = readback.matcher(criteria)
        with self._store.transaction() as db:
            _active_datastore(db, datastore_id)
            rows = db.execute(
                "SELECT * FROM image_set WHERE datastore_id = ? ORDER BY updated_at DESC, id", (datastore_id,)
            ).fetchall()
        found = [row for row in rows if matches(row)][offset : offset + limit + 1]
        summaries = [readback.summary(row) for row in found[:limit]]
        return {"imageSetsMetadataSummaries": summaries} | _next(len(found), limit, offset)

    # Data stores

    def create_datastore(self, body: Body) -> Answer:
        self._throttle.take("CreateDatastore")
        token = check("clientToken", body.get("clientToken"))
        name = check_optional("datastoreName", body)
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM datastore WHERE client_token = ?", (token,)).fetchone()
            datastore_id = row["id"] if row is not None else self._add_datastore(db, new_id(), name, token)
        return {"datastoreId": datastore_id, "datastoreStatus": "CREATING"}

    def ensure_datastore(self, datastore_id: str) -> None:
        """Make the data store of this id, unless it exists."""
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            if db.execute("SELECT 1 FROM datastore WHERE id = ?", (datastore_id,)).fetchone() is None:
                self._add_datastore(db, datastore_id, "local", f"ensured-{datastore_id}")

    def get_datastore(self, datastore_id: str) -> Answer:
        self._throttle.take("GetDatastore")
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM datastore WHERE id = ?", (datastore_id,)).fetchone()
        if row is None:
            raise not_found("data store")
        return {"datastoreProperties": _datastore_summary(row)}

    def list_datastores(self, status: str | None, max_results: str | None, next_token: str | None) -> Answer:
        self._throttle.take("ListDatastores")
        check_choice("datastoreStatus", status, DATASTORE_STATUSES)
        limit, offset = check_page(max_results, next_token)
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT * FROM datastore WHERE status = ifnull(?, status) ORDER BY created_at, id LIMIT ? OFFSET ?",
                (status, limit + 1, offset),
            ).fetchall()
        return {"datastoreSummaries": [_datastore_summary(row) for row in rows[:limit]]} | _next(len(rows), limit, offset)

    def delete_datastore(self, datastore_id: str) -> Answer:
        self._throttle.take("DeleteDatastore")
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            _active_datastore(db, datastore_id)
            if db.execute("SELECT 1 FROM image_set WHERE datastore_id = ?", (datastore_id,)).fetchone():
                raise ServiceError("ConflictException", "The data store is not empty. Delete its image sets first.")
            if self._open_jobs(db, datastore_id):
                raise ServiceError("ConflictException", "The data store has import jobs that have not ended.")
            db.execute("UPDATE datastore SET status = 'DELETED', updated_at = ? WHERE id = ?", (self._now(), datastore_id))
        return {"datastoreId": datastore_id, "datastoreStatus": "DELETING"}

    def _job_of_token(self, db: sqlite3.Connection, datastore_id: str, token: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM job WHERE datastore_id = ? AND client_token = ? AND submitted_at > ? ORDER BY submitted_at DESC",
            (datastore_id, token, self._now() - self._settings.token_kept_seconds),
        ).fetchone()
        return row

    def _new_job(self, db: sqlite3.Connection, datastore_id: str, body: Body, request: str) -> sqlite3.Row:
        if self._open_jobs(db, datastore_id) >= self._settings.concurrent_jobs:
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

    @staticmethod
    def _open_jobs(db: sqlite3.Connection, datastore_id: str) -> int:
        (count,) = db.execute(
            "SELECT count(*) FROM job WHERE datastore_id = ? AND status IN (?, ?)", (datastore_id, *_OPEN)
        ).fetchone()
        return int(count)

    @staticmethod
    def _image_set(db: sqlite3.Connection, datastore_id: str, image_set_id: str, version_id: str | None) -> sqlite3.Row:
        """The image set in its current version, the only one that is kept."""
        check("datastoreId", datastore_id)
        check("imageSetId", image_set_id)
        if version_id is not None:
            check("versionId", version_id)
        _active_datastore(db, datastore_id)
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM image_set WHERE id = ? AND datastore_id = ?", (image_set_id, datastore_id)
        ).fetchone()
        if row is None:
            raise not_found("image set")
        if version_id is not None and int(version_id) != row["version"]:
            raise not_found("version of the image set")
        return row

    def _add_datastore(self, db: sqlite3.Connection, datastore_id: str, name: str | None, token: str) -> str:
        now = self._now()
        db.execute(
            "INSERT INTO datastore VALUES (?, ?, 'ACTIVE', ?, ?, ?)", (datastore_id, name or datastore_id, token, now, now)
        )
        return datastore_id


def _active_datastore(db: sqlite3.Connection, datastore_id: str) -> None:
    if db.execute("SELECT 1 FROM datastore WHERE id = ? AND status = 'ACTIVE'", (datastore_id,)).fetchone() is None:
        raise not_found("data store")


def _job_summary(job: sqlite3.Row) -> Answer:
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


def _datastore_summary(row: sqlite3.Row) -> Answer:
    return {
        "datastoreId": row["id"],
        "datastoreName": row["name"],
        "datastoreStatus": row["status"],
        "datastoreArn": arn_of(row["id"]),
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }


def _next(found: int, limit: int, offset: int) -> Answer:
    return {"nextToken": str(offset + limit)} if found > limit else {}
