"""The operations on data stores, on plain dictionaries: what server.py answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.healthimaging.errors import ServiceError, invalid, not_found
from local.healthimaging.readback import arn_of
from local.healthimaging.store import new_id
from local.healthimaging.validation import DATASTORE_STATUSES, Body, Page, check, check_choice, check_optional

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from local.healthimaging.store import Store

Answer = dict[str, Any]


class Datastores:
    def __init__(self, *, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def create(self, body: Body) -> Answer:
        """CreateDatastore. The store is ACTIVE at once."""
        token = check("clientToken", body.get("clientToken"))
        name = check_optional("datastoreName", body)
        if others := body.keys() - {"clientToken", "datastoreName"}:
            raise invalid(f"{', '.join(sorted(others))}: not emulated, leave it out.")
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM datastore WHERE client_token = ?", (token,)).fetchone()
            datastore_id = row["id"] if row is not None else self._add(db, new_id(), name, token)
        return {"datastoreId": datastore_id, "datastoreStatus": "CREATING"}

    def ensure(self, datastore_id: str) -> None:
        """Make the data store of this id, unless it exists."""
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            if db.execute("SELECT 1 FROM datastore WHERE id = ?", (datastore_id,)).fetchone() is None:
                self._add(db, datastore_id, "local", f"ensured-{datastore_id}")

    def get(self, datastore_id: str) -> Answer:
        """GetDatastore."""
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM datastore WHERE id = ?", (datastore_id,)).fetchone()
        if row is None:
            raise not_found("data store")
        return {"datastoreProperties": _summary(row)}

    def list(self, status: str | None, page: Page) -> Answer:
        """ListDatastores, oldest first."""
        check_choice("datastoreStatus", status, DATASTORE_STATUSES)
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT * FROM datastore WHERE status = ifnull(?, status) ORDER BY created_at, id LIMIT ? OFFSET ?",
                (status, page.size + 1, page.offset),
            ).fetchall()
        return {"datastoreSummaries": [_summary(row) for row in page.of(rows)]} | page.next(len(rows))

    def delete(self, datastore_id: str) -> Answer:
        """DeleteDatastore. It is gone at once."""
        check("datastoreId", datastore_id)
        with self._store.transaction() as db:
            require_active(db, datastore_id)
            if db.execute("SELECT 1 FROM image_set WHERE datastore_id = ?", (datastore_id,)).fetchone():
                raise ServiceError("ConflictException", "The data store is not empty. Delete its image sets first.")
            if db.execute(
                "SELECT 1 FROM job WHERE datastore_id = ? AND status IN ('SUBMITTED', 'IN_PROGRESS')", (datastore_id,)
            ).fetchone():
                raise ServiceError("ConflictException", "The data store has import jobs that have not ended.")
            db.execute("UPDATE datastore SET status = 'DELETED', updated_at = ? WHERE id = ?", (self._now(), datastore_id))
        return {"datastoreId": datastore_id, "datastoreStatus": "DELETING"}

    def _add(self, db: sqlite3.Connection, datastore_id: str, name: str | None, token: str) -> str:
        now = self._now()
        db.execute(
            "INSERT INTO datastore VALUES (?, ?, 'ACTIVE', ?, ?, ?)", (datastore_id, name or datastore_id, token, now, now)
        )
        return datastore_id


def require_active(db: sqlite3.Connection, datastore_id: str) -> None:
    """Raises ServiceError ResourceNotFoundException."""
    if db.execute("SELECT 1 FROM datastore WHERE id = ? AND status = 'ACTIVE'", (datastore_id,)).fetchone() is None:
        raise not_found("data store")


def _summary(row: sqlite3.Row) -> Answer:
    return {
        "datastoreId": row["id"],
        "datastoreName": row["name"],
        "datastoreStatus": row["status"],
        "datastoreArn": arn_of(row["id"]),
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
