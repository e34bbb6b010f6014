"""The event log: the engine's only store, append-only.

Invariants:
- A state machine is its creation and updates, an execution is its history events. Nothing else is kept, and what is
  written is never changed (triggers see to it): the state of an execution is what its events add up to (`flow.py`).
- Events appended without an `await` between them are one transaction: a crash keeps all of them or none.
- `commit` comes before any effect outside: before an invocation, before an answer.

An event is what AWS shows of it (`details`), where it happened (`path`, see `flow.py`), and what the engine must
remember besides (`memo`: the evaluated items of a Map, when a retry is due, which state is next).

SQLite in WAL mode. A commit survives kill -9 of the process; it is not synced, so a power cut may take the newest.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS machine_event (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    arn TEXT NOT NULL,
    type TEXT NOT NULL,         -- Created, Updated
    definition TEXT NOT NULL,
    role_arn TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS event (
    sequence INTEGER PRIMARY KEY,   -- in the order of recording, over all executions
    execution_arn TEXT NOT NULL,
    id INTEGER NOT NULL,            -- in the execution's history; 0 is a note, which the history does not show
    previous_id INTEGER NOT NULL,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL,
    details TEXT NOT NULL,
    memo TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS history ON event (execution_arn, id) WHERE id > 0;
CREATE INDEX IF NOT EXISTS whole ON event (execution_arn, sequence);
CREATE INDEX IF NOT EXISTS life ON event (sequence) WHERE type IN (
    'ExecutionStarted', 'ExecutionSucceeded', 'ExecutionFailed', 'ExecutionAborted', 'ExecutionTimedOut', 'ExecutionRedriven');
CREATE TRIGGER IF NOT EXISTS machine_event_stays BEFORE UPDATE ON machine_event
    BEGIN SELECT raise(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS machine_event_is_kept BEFORE DELETE ON machine_event
    BEGIN SELECT raise(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS event_stays BEFORE UPDATE ON event
    BEGIN SELECT raise(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS event_is_kept BEFORE DELETE ON event
    BEGIN SELECT raise(ABORT, 'the event log is append-only'); END;
"""

_LIFE = (
    "type IN ('ExecutionStarted', 'ExecutionSucceeded', 'ExecutionFailed', 'ExecutionAborted', 'ExecutionTimedOut',"
    " 'ExecutionRedriven')"
)


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    previous_id: int
    at: float  # seconds since the epoch, to the millisecond
    type: str
    path: str
    details: dict[str, Any]
    memo: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MachineEvent:
    id: int
    at: float
    arn: str
    type: str
    definition: str
    role_arn: str


class EventLog:
    """Used by the engine's thread alone."""

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps the log in memory."""
        self._connection = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA busy_timeout = 500")
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # one engine to a log
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise RuntimeError(f"cannot use the event log {path}: {error}. Does another engine use this folder?") from error
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._open = False

    def close(self) -> None:
        """Closes without committing what `commit` has not: as a crash would."""
        if self._open:
            self._connection.execute("ROLLBACK")
        self._connection.close()

    def commit(self) -> None:
        if self._open:
            self._connection.execute("COMMIT")
            self._open = False

    def _begin(self) -> None:
        if not self._open:
            self._connection.execute("BEGIN")
            self._open = True

    def append(self, execution_arn: str, event: Event) -> None:
        self._begin()
        self._connection.execute(
            "INSERT INTO event (execution_arn, id, previous_id, at, type, path, details, memo) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                execution_arn,
                event.id,
                event.previous_id,
                event.at,
                event.type,
                event.path,
                json.dumps(event.details, separators=(",", ":"), ensure_ascii=False),
                json.dumps(event.memo, separators=(",", ":"), ensure_ascii=False),
            ),
        )

    def append_machine(self, *, at: float, arn: str, type: str, definition: str, role_arn: str) -> MachineEvent:  # noqa: A002
        self._begin()
        cursor = self._connection.execute(
            "INSERT INTO machine_event (at, arn, type, definition, role_arn) VALUES (?, ?, ?, ?, ?)",
            (at, arn, type, definition, role_arn),
        )
        return MachineEvent(cursor.lastrowid or 0, at, arn, type, definition, role_arn)

    def machines(self) -> Iterator[MachineEvent]:
        """Every creation and update, oldest first."""
        for row in self._connection.execute("SELECT id, at, arn, type, definition, role_arn FROM machine_event ORDER BY id"):
            yield MachineEvent(*row)

    def lives(self) -> Iterator[tuple[str, Event]]:
        """The events that start and end executions, in order, with the execution's ARN."""
        rows = self._connection.execute(
            f"SELECT execution_arn, id, previous_id, at, type, path, details, memo FROM event WHERE {_LIFE}"  # noqa: S608
            " ORDER BY sequence"
        )
        for execution_arn, *row in rows:
            yield execution_arn, _event(row)

    def events(
        self, execution_arn: str, *, after: int = 0, before: int | None = None, limit: int = -1, reverse: bool = False
    ) -> list[Event]:
        """The execution's events with `after < id < before`, in order, or newest first."""
        order = "DESC" if reverse else "ASC"
        rows = self._connection.execute(
            "SELECT id, previous_id, at, type, path, details, memo FROM event"  # noqa: S608 - nothing from outside
            f" WHERE execution_arn = ? AND id > 0 AND id > ? AND id < ? ORDER BY id {order} LIMIT ?",
            (execution_arn, after, 2**62 if before is None else before, limit),
        )
        return [_event(row) for row in rows]

    def everything(self, execution_arn: str) -> list[Event]:
        """The execution's events and notes, in the order in which they were recorded."""
        rows = self._connection.execute(
            "SELECT id, previous_id, at, type, path, details, memo FROM event WHERE execution_arn = ? ORDER BY sequence",
            (execution_arn,),
        )
        return [_event(row) for row in rows]

    def first_and_last(self, execution_arn: str) -> tuple[Event, Event]:
        return self.events(execution_arn, limit=1)[0], self.events(execution_arn, limit=1, reverse=True)[0]


def _event(row: Any) -> Event:
    id_, previous_id, at, type_, path, details, memo = row
    return Event(id_, previous_id, at, type_, path, json.loads(details), json.loads(memo))
