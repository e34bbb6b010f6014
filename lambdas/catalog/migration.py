"""Applies `migrations/*.sql` with yoyo: by a Lambda on AWS at each deployment, by `ahi-ingest up` on one machine.

Two runs at once are safe: the second waits for a lock that MySQL itself drops with the connection (GET_LOCK), then finds
nothing to do. yoyo's own lock is a row that outlives a killed process, so it is cleared once ours is held.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor
from yoyo import read_migrations  # type: ignore[import-untyped]
from yoyo.backends.core.mysql import MySQLBackend  # type: ignore[import-untyped]
from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]
from yoyo.migrations import default_migration_table  # type: ignore[import-untyped]

from lambdas.catalog.connection import CatalogSettings, named_error, open_connection
from lambdas.errors import CatalogUnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"
BY_IAM = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL"
"""Aurora guide, "Creating a database account using IAM authentication"."""
_LOCK_SECONDS = 60
_THERE_ALREADY = {
    1060,  # ER_DUP_FIELDNAME
    1061,  # ER_DUP_KEYNAME
}


def migrate(settings: CatalogSettings) -> list[str]:
    """Apply what is not applied yet, in order; the ids that this call applied. Never destructive.

    Raises CatalogUnavailableError, also when another run held the lock for a minute, and CatalogRefusedError.
    """
    try:
        connection = open_connection(settings)
        try:
            _lock(connection, settings.database)
            return _apply(settings)
        finally:
            connection.close()
    except pymysql.Error as error:
        raise named_error(error) from None


def let_in(settings: CatalogSettings, user: str, *, how: str = BY_IAM) -> None:
    """Make the user that functions log in as: it may read and change rows, and nothing else. May be called again.

    `how` it proves who it is. Raises CatalogUnavailableError, CatalogRefusedError.
    """
    try:
        with open_connection(settings) as connection, connection.cursor() as cursor:
            name = connection.escape(user)
            cursor.execute(f"CREATE USER IF NOT EXISTS {name}@'%' {how}")
            database = settings.database.replace("_", r"\_")  # which stands for any character in a GRANT
            cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.* TO {name}@'%'")
    except pymysql.Error as error:
        raise named_error(error) from None


def _lock(connection: pymysql.Connection[Any], database: str) -> None:
    # The name is the server's, of at most 64 characters: so it has the database's in it, hashed.
    name = f"ahi-ingest-{hashlib.sha256(database.encode()).hexdigest()[:16]}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s) AS held", (name, _LOCK_SECONDS))
        row = cursor.fetchone()
    if row is None or row["held"] != 1:
        raise CatalogUnavailableError(f"another migration has held the lock for {_LOCK_SECONDS} s")


class _RepeatingCursor(Cursor):
    """Takes an ALTER TABLE for done when what it adds is there: a run that broke off did it, and an ALTER is atomic in
    MySQL 8.0 and MariaDB 10.11. Only MariaDB has ADD COLUMN IF NOT EXISTS."""

    def execute(self, query: str, args: Any = None) -> int:
        try:
            return super().execute(query, args)
        except pymysql.Error as error:
            if error.args[0] in _THERE_ALREADY:
                return 0
            raise


def _apply(settings: CatalogSettings) -> list[str]:
    class Backend(MySQLBackend):  # type: ignore[misc]
        """yoyo's, on our connections: with our TLS, and without the password in a URI."""

        def connect(self, dburi: DatabaseURI) -> pymysql.Connection[Any]:  # noqa: ARG002 - yoyo's signature
            return open_connection(settings, cursor_class=_RepeatingCursor)

    uri = DatabaseURI("mysql", None, None, None, None, settings.database, {})
    with Backend(uri, default_migration_table) as backend:
        backend.init_database()
        backend.break_lock()
        with backend.lock():
            waiting = backend.to_apply(read_migrations(str(MIGRATIONS)))
            backend.apply_migrations(waiting)
            return [migration.id for migration in waiting]
