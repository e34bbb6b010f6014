"""The SQLite file of storage commitment, shared by the worker processes of a spool.

A transaction that returned is durable: write-ahead log with `synchronous = FULL`, one fsync each. The file outlives the
associations' folders. One that is damaged, wherever that shows, is put aside, and a new one begun: commitment is refused for
what it held (0112), nothing else is lost with it. The other processes follow to the new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from receiver.filesystem import LocalFileSystem

_BUSY_SECONDS = 10.0  # how long a process waits for another's transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instance (
    number INTEGER PRIMARY KEY,         -- grows with time, so that the oldest go first
    sop_instance TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    quarantined INTEGER NOT NULL,
    association TEXT NOT NULL,
    recorded_at REAL NOT NULL,          -- seconds since 1970
    UNIQUE (sop_instance, sop_class, quarantined)
);
CREATE TABLE IF NOT EXISTS progress (   -- of associations whose folders are in the spool; `upload` is an earlier version's
    association TEXT PRIMARY KEY,
    in_s3 INTEGER NOT NULL,             -- so many of its first objects, in order of arrival
    changed_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS request (
    number INTEGER PRIMARY KEY,
    transaction_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    called_ae TEXT NOT NULL,
    association TEXT NOT NULL,          -- on which it was asked
    requested_at REAL NOT NULL,
    resolved_at REAL,
    reported_at REAL,
    status INTEGER,                     -- of the peer's N-EVENT-REPORT-RSP
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',    -- the process that reports it
    held_until REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS request_by_transaction ON request (transaction_uid);
CREATE INDEX IF NOT EXISTS request_open ON request (number) WHERE reported_at IS NULL;
CREATE TABLE IF NOT EXISTS reference (
    request INTEGER NOT NULL REFERENCES request ON DELETE CASCADE,
    position INTEGER NOT NULL,
    sop_class TEXT NOT NULL,
    sop_instance TEXT NOT NULL,
    reason INTEGER,                     -- 0: committed; NULL: not known yet
    PRIMARY KEY (request, position)
) WITHOUT ROWID;
"""

_log = logging.getLogger(__name__)


class DatabaseError(OSError):
    """The file did not take what was to be written: a full disk, as a rule."""


class DamagedError(DatabaseError):
    """The file was damaged. The next transaction is in a new one."""


class Database:
    """One process's connection, for all its threads, one at a time."""

    def __init__(self, path: Path) -> None:
        """Raises DatabaseError."""
        self._path, self._lock = path, threading.Lock()
        self._connection, self._inode = _open(path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Durable when it ends without an error. Raises DatabaseError, and then nothing of it is done."""
        with self._working() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """What a query finds. Raises DatabaseError."""
        with self._working() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def _working(self) -> Iterator[sqlite3.Connection]:
        """The connection for one thread, to the file that is there now. Raises DatabaseError."""
        with self._lock:
            try:
                if self._inode != _inode_of(self._path):  # a sibling has put it aside
                    self._reopen()
                yield self._connection
            except sqlite3.Error as error:
                if _is_damaged(error):
                    self._reopen(damage=error)
                    raise DamagedError(str(error)) from None
                raise DatabaseError(str(error)) from None

    def _reopen(self, damage: sqlite3.Error | None = None) -> None:
        """Go on in the file that is there now, or in a new one. Raises DatabaseError, and then may be called again."""
        before = self._connection
        self._connection, self._inode = _open(self._path, self._inode, damage)
        before.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class ReadOnlyDatabase(Database):
    """The file as it is, for a process that looks at it once, as whatever user: makes no file beside it, and changes none."""

    def __init__(self, path: Path) -> None:
        """Raises DatabaseError."""
        self._path, self._lock = path, threading.Lock()
        self._connection, self._inode = _open_read_only(path), _inode_of(path)

    def _reopen(self, damage: sqlite3.Error | None = None) -> None:
        """Leave a damaged file to the receiver."""


def _is_damaged(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _inode_of(path: Path) -> int:
    """Which file has the name; 0 when none has, or that cannot be told."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - pathlib costs as much again
    except OSError:
        return 0


def _open(path: Path, inode: int = 0, damage: sqlite3.Error | None = None) -> tuple[sqlite3.Connection, int]:
    """The file that is there now, and its inode. Raises DatabaseError.

    One that does not open is put aside, and so is the one of `inode` in which `damage` was met.
    Under a lock: no process opens what a sibling is putting aside, puts aside what a sibling has begun, or opens a file while a
    sibling changes its journal mode, which SQLite would not wait for.
    """
    try:
        release = LocalFileSystem().lock(path.with_name(path.name + ".lock"), wait=True)
        assert release is not None  # noqa: S101 - it waited
        try:
            if damage is not None and inode == _inode_of(path):
                _put_aside(path, damage)
            try:
                connection = _connect(path)
            except sqlite3.Error as error:
                if not _is_damaged(error):
                    raise
                _put_aside(path, error)
                connection = _connect(path)
            return connection, _inode_of(path)
        finally:
            release()
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{path.name}: {error}") from None


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Raises DatabaseError.

    While a process has the file open, or died with it, the files of its write-ahead log are there, and are read as well.
    Without them nobody has it open, and SQLite would make them, unless it is told that nobody writes.
    """
    try:
        mode = "mode=ro&readonly_shm=1" if path.with_name(path.name + "-wal").exists() else "immutable=1"
        uri = f"{path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{path.name}: {error}") from None
    connection.row_factory = sqlite3.Row
    return connection


def _put_aside(path: Path, damage: sqlite3.Error) -> None:
    _log.error("the commitment database is damaged, is put aside and begun anew", extra={"error": str(damage)})
    path.replace(path.with_name(path.name + ".unreadable"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -512")  # KiB; the system keeps the file's pages as well
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
