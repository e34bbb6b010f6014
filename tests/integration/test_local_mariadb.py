"""The private MariaDB keeps what it committed, and lets in nobody but its user."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pymysql
import pytest

from local.mariadb import DatabaseAddress, MariaDb
from local.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path


def connect(address: DatabaseAddress) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host=address.host, port=address.port, user=address.user, password=address.password, database=address.database
    )


def test_committed_rows_and_the_password_survive_kill_9(tmp_path: Path) -> None:
    server = MariaDb.start(tmp_path, free_port())
    try:
        with connect(server.address) as connection:
            connection.cursor().execute("CREATE TABLE t (n INT PRIMARY KEY)")
            connection.cursor().execute("INSERT INTO t VALUES (7)")
            connection.commit()
    finally:
        server.process.kill()
    with MariaDb.start(tmp_path, free_port()) as again:
        assert again.address.password == server.address.password
        with connect(again.address) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT n FROM t")
            assert cursor.fetchall() == ((7,),)


def test_temporary_tables_are_its_own(mariadb_server: MariaDb) -> None:
    """Another server that starts on the same tmpdir would remove them."""
    with connect(mariadb_server.address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@tmpdir")
        assert cursor.fetchone() == (str(mariadb_server.process.log_path.parent / "tmp"),)


def test_secrets_are_readable_by_their_owner_only(mariadb_server: MariaDb) -> None:
    folder = mariadb_server.process.log_path.parent
    for name in ("password", "init.sql"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    password = mariadb_server.address.password
    assert password not in mariadb_server.process.log_path.read_text()
    assert password not in repr(mariadb_server.address)


def test_root_without_a_password_is_refused_over_tcp(mariadb_server: MariaDb) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(host="127.0.0.1", port=mariadb_server.address.port, user="root", password="")


def test_a_value_too_long_for_its_column_is_refused_as_on_mysql(catalog_database: DatabaseAddress) -> None:
    with connect(catalog_database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (v VARCHAR(3))")
        with pytest.raises(pymysql.err.DataError):
            cursor.execute("INSERT INTO t VALUES ('four')")
