"""One connection to MySQL, kept across invocations, and transactions on it that outlive deadlocks and failovers."""

from __future__ import annotations

import json
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import pymysql
from pymysql.cursors import Cursor as MySqlCursor
from pymysql.cursors import DictCursor

from contract.strict import ContractError
from lambdas.errors import CatalogRefusedError, CatalogUnavailableError, IngestError

Result = TypeVar("Result")
Row = dict[str, Any]
MakeToken = Callable[[str, int, str], str]
"""(host, port, user) -> a password that is good for one connect, some minutes from now."""

LOCK_ATTEMPTS = 12
_LOCK_WAIT_SECONDS = 10
_LOCK_PAUSES_SECONDS = (0.02, 1.0)  # first and longest, before jitter
_AWAY_PAUSES_SECONDS = (0.2, 5.0)
# A cluster that had paused answers after 15 to 30 s (Aurora guide, "Scaling to Zero ACUs with automatic pause and resume").
_CONNECT_SECONDS = 30

# Error codes: MySQL 8.0 Error Reference, "Server Error Message Reference" and "Client Error Message Reference".
_LOCK_CONFLICTS = {
    1205,  # ER_LOCK_WAIT_TIMEOUT
    1213,  # ER_LOCK_DEADLOCK
}
_CONNECTION_LOST = {
    0,  # PyMySQL's own, on a closed connection
    1053,  # ER_SERVER_SHUTDOWN
    1152,  # ER_ABORTING_CONNECTION
    1158,  # ER_NET_READ_ERROR
    1159,  # ER_NET_READ_INTERRUPTED
    1160,  # ER_NET_ERROR_ON_WRITE
    1161,  # ER_NET_WRITE_INTERRUPTED
    1290,  # ER_OPTION_PREVENTS_STATEMENT: read-only, as a demoted writer answers after a failover
    1792,  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1836,  # ER_READ_ONLY_MODE
    1927,  # MariaDB: ER_CONNECTION_KILLED
    2006,  # CR_SERVER_GONE_ERROR
    2013,  # CR_SERVER_LOST
    2014,  # CR_COMMANDS_OUT_OF_SYNC, after a connection that broke within an answer
    4031,  # ER_CLIENT_INTERACTION_TIMEOUT
}
_AWAY = _CONNECTION_LOST | {
    1040,  # ER_CON_COUNT_ERROR
    2002,  # CR_CONNECTION_ERROR
    2003,  # CR_CONN_HOST_ERROR
}
_UNAVAILABLE = _AWAY | {
    1045,  # ER_ACCESS_DENIED_ERROR, for as long as a password is being rotated
    1129,  # ER_HOST_IS_BLOCKED
    1203,  # ER_TOO_MANY_USER_CONNECTIONS
    1226,  # ER_USER_LIMIT_REACHED
    1317,  # ER_QUERY_INTERRUPTED
    2005,  # CR_UNKNOWN_HOST
    2026,  # CR_SSL_CONNECTION_ERROR
}

# Strict, so that no value is cut; UTC; READ COMMITTED, so that upserts lock the rows they touch and no gaps between.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
    f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS}, group_concat_max_len = 1048576",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    """Where the catalog is. `tls`: `verify` asks for TLS and a certificate that `ca_file` or the system trusts; `off` is for
    a database on the same machine."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    tls: Literal["verify", "off"] = "verify"
    ca_file: str | None = None

    @classmethod
    def of_secret(cls, text: str, *, tls: str, ca_file: str | None, make_token: MakeToken | None = None) -> Self:
        """From a secret in the form of RDS's own: {host, port, username, password, dbname}. Raises ContractError.

        With `make_token` the password is a token that it makes, for IAM authentication, and the secret needs none.
        """
        if tls not in ("verify", "off"):
            raise ContractError("CATALOG_TLS: expected `verify` or `off`")
        if make_token is not None and tls == "off":
            raise ContractError("CATALOG_AUTH: `iam` sends a token as it is, so CATALOG_TLS must be `verify`")
        try:
            secret = json.loads(text)
            host, port, user = str(secret["host"]), int(secret["port"]), str(secret["username"])
            return cls(
                host=host,
                port=port,
                user=user,
                password=make_token(host, port, user) if make_token else str(secret["password"]),
                database=str(secret["dbname"]),
                tls="off" if tls == "off" else "verify",
                ca_file=ca_file,
            )
        except (KeyError, TypeError, ValueError):
            raise ContractError("the catalog's secret: expected host, port, username, password, dbname") from None


def open_connection(settings: CatalogSettings, *, cursor_class: type[MySqlCursor] = DictCursor) -> pymysql.Connection[Any]:
    """A new connection whose session is set up. Raises pymysql.Error; never speaks in clear text under `verify`.

    PyMySQL leaves off TLS in silence for a server without it, unless it was given a context (`_ssl_required`).
    """
    connection = pymysql.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password,
        database=settings.database,
        charset="utf8mb4",
        cursorclass=cursor_class,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=90,
        write_timeout=90,
        **({"ssl_disabled": True} if settings.tls == "off" else {"ssl": _tls_context(settings.ca_file)}),
    )
    with connection.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
    return connection


class Cursor:
    """Runs statements of one transaction. Rows come as dictionaries by column."""

    def __init__(self, cursor: DictCursor) -> None:
        self._cursor = cursor

    def execute(self, sql: str, arguments: Sequence[object] | Mapping[str, object] = ()) -> int:
        """Run one statement; how many rows it changed or found."""
        return self._cursor.execute(sql, arguments or None)

    def execute_rows(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one `INSERT ... VALUES (%s, ...)` for all rows, as multi-row statements of at most about 1 MB.

        The first column is the key: rows go in its order, so that transactions on the same rows queue and do not deadlock.
        """
        if rows:
            in_order = sorted(rows, key=lambda row: str(row[0]))
            self._cursor.executemany(sql, in_order)

    def rows(self, sql: str, arguments: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        self._cursor.execute(sql, arguments or None)
        return list(self._cursor.fetchall())

    def row(self, sql: str, arguments: Sequence[object] | Mapping[str, object] = ()) -> Row | None:
        """The only or first row."""
        found = self.rows(sql, arguments)
        return found[0] if found else None


class Catalog:
    """Transactions on one connection, which is opened when first needed and again whenever it was lost.

    Not for sharing between threads. `load_settings` is asked at each connect, so that a rotated password is picked up, and
    an IAM token is always a new one. A database that is away, fails over or resumes is waited for `wait_seconds`.
    """

    def __init__(
        self,
        load_settings: Callable[[], CatalogSettings],
        *,
        wait_seconds: float = 0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[CatalogSettings], pymysql.Connection[Any]] = open_connection,
    ) -> None:
        self._load_settings = load_settings
        self._wait_seconds = wait_seconds
        self._sleep = sleep
        self._clock = clock
        self._connect = connect
        self._connection: pymysql.Connection[Any] | None = None

    def transaction(self, work: Callable[[Cursor], Result]) -> Result:
        """Run `work` in one transaction and commit. It may be run several times, so it must give the same rows when repeated.

        Deadlocks and lock waits are retried with full jitter; a lost connection is opened again, at once the first time.
        Raises CatalogUnavailableError, CatalogRefusedError, and what `work` raises (after a rollback).
        """
        conflicts = losses = 0
        began = self._clock()
        while True:
            try:
                return self._once(work)
            except pymysql.Error as error:
                code = _code(error)
                if code in _LOCK_CONFLICTS and (conflicts := conflicts + 1) < LOCK_ATTEMPTS:
                    self._pause(conflicts, _LOCK_PAUSES_SECONDS)
                elif code in _AWAY and self._clock() - began < self._wait_seconds:
                    losses += 1
                    if losses > 1 or code not in _CONNECTION_LOST:
                        self._pause(losses, _AWAY_PAUSES_SECONDS)
                elif code in _CONNECTION_LOST and losses == 0:
                    losses = 1
                else:
                    # Not chained: the server's own text quotes values.
                    raise named_error(error) from None
            except UnicodeError:
                raise CatalogRefusedError("a text holds what is no Unicode character") from None

    def _pause(self, attempt: int, seconds: tuple[float, float]) -> None:
        first, longest = seconds
        self._sleep(random.uniform(0, min(longest, first * 2**attempt)))

    def close(self) -> None:
        """Close the connection. The next transaction opens another."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection.close()

    def _once(self, work: Callable[[Cursor], Result]) -> Result:
        try:
            if self._connection is None:
                self._connection = self._connect(self._load_settings())
            connection = self._connection
            connection.begin()
            with connection.cursor() as cursor:
                result = work(Cursor(cursor))
            connection.commit()
        except Exception as error:
            if isinstance(error, pymysql.Error) and _code(error) in _CONNECTION_LOST:
                self.close()
            else:
                self._rollback()
            raise
        except BaseException:  # broken off from outside: nobody knows what the server heard
            self.close()
            raise
        return result

    def _rollback(self) -> None:
        try:
            if self._connection is not None:
                self._connection.rollback()
        except pymysql.Error:
            self.close()


def _code(error: pymysql.Error) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def named_error(error: pymysql.Error) -> IngestError:
    """Ours for an error of PyMySQL, without the server's text, which quotes values."""
    code = _code(error)
    if code in _LOCK_CONFLICTS:
        return CatalogUnavailableError(f"MySQL error {code}: locks stayed taken through {LOCK_ATTEMPTS} attempts")
    if code in _UNAVAILABLE:
        return CatalogUnavailableError(f"MySQL error {code}: the catalog cannot be reached, or is read-only")
    return CatalogRefusedError(f"MySQL error {code} ({type(error).__name__}): the catalog refused a statement")


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(os.fspath(ca_file))
    return context
