"""The emulator's state, in one SQLite file: data stores, import jobs, image sets and their instances.

Invariants:
- An operation's changes are one transaction, so a kill -9 leaves each of them done or not begun.
- A job's image sets and its `outcome` are written by the same transaction: a job with an outcome is never scanned again,
  a job without one has changed nothing. So a job that is run again after a kill ends as it would have.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datastore (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, client_token TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, datastore_id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, role_arn TEXT NOT NULL,
    input_uri TEXT NOT NULL, output_uri TEXT NOT NULL, client_token TEXT NOT NULL, request TEXT NOT NULL,
    submitted_at REAL NOT NULL, ended_at REAL, message TEXT,
    faults TEXT NOT NULL,                       -- what a test asked of this job (faults.JobFaults)
    outcome TEXT,                               -- what the scan found (outputs.Outcome)
    outputs_written INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS job_by_token ON job (datastore_id, client_token, submitted_at);
CREATE TABLE IF NOT EXISTS image_set (
    id TEXT PRIMARY KEY, datastore_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    is_primary INTEGER NOT NULL, version INTEGER NOT NULL, patient TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS image_set_by_study ON image_set (datastore_id, study_uid, series_uid);
CREATE UNIQUE INDEX IF NOT EXISTS one_primary_per_series
    ON image_set (datastore_id, study_uid, series_uid) WHERE is_primary = 1;
CREATE TABLE IF NOT EXISTS image_set_version (
    image_set_id TEXT NOT NULL, version INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (image_set_id, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instance (           -- a copy holds from its version on, until a later copy of the same instance
    image_set_id TEXT NOT NULL, sop_instance_uid TEXT NOT NULL, version INTEGER NOT NULL,
    transfer_syntax_uid TEXT NOT NULL, attributes TEXT NOT NULL,
    PRIMARY KEY (image_set_id, sop_instance_uid, version)
) WITHOUT ROWID;
"""
_SCHEMA_VERSION = 2


class StoreError(Exception):
    """The state cannot be used. The text says why."""


class Store:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError for a file that an emulator with other tables has made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # what is committed survives kill -9
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and found != _SCHEMA_VERSION:
            self._connection.close()
            raise StoreError(f"{path} was made by an earlier emulator: remove it to begin anew")
        self._connection.executescript(_SCHEMA)
        self._connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def new_id() -> str:
    """An id as the service makes them: 32 characters of [0-9a-z]."""
    return secrets.token_hex(16)
