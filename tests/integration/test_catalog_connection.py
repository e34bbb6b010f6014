"""The catalog is reached through failovers, resumes and tokens that expire, over TLS that is checked, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from contract.strict import ContractError
from lambdas import errors
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.connection import Cursor, open_connection
from lambdas.handlers import environment
from local.mariadb import MariaDb
from local.processes import free_port
from tests.support.catalog import settings_of
from tests.support.certificates import make_ca, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def _catalog(
    clock: Clock, connect: Callable[[CatalogSettings], Any], settings: CatalogSettings, wait_seconds: float
) -> Catalog:
    return Catalog(lambda: settings, wait_seconds=wait_seconds, sleep=clock.sleep, clock=clock, connect=connect)


def _one(cursor: Cursor) -> list[dict[str, Any]]:
    return cursor.rows("SELECT 1 AS one")


@pytest.mark.parametrize("code", [1040, 2002, 2003, 2013])
def test_a_database_that_resumes_is_waited_for(migrated_settings: CatalogSettings, code: int) -> None:
    clock = Clock()

    def connect(settings: CatalogSettings) -> pymysql.Connection[Any]:
        if clock.seconds < 30:
            raise pymysql.err.OperationalError(code, "away")
        return open_connection(settings)

    catalog = _catalog(clock, connect, migrated_settings, 45)
    assert catalog.transaction(_one) == [{"one": 1}]
    assert 30 <= clock.seconds < 45
    catalog.close()


def test_a_database_that_stays_away_is_told_by_name_when_the_wait_is_over(migrated_settings: CatalogSettings) -> None:
    clock = Clock()

    def connect(settings: CatalogSettings) -> pymysql.Connection[Any]:
        raise pymysql.err.OperationalError(2003, "away")

    with pytest.raises(errors.CatalogUnavailableError, match="2003"):
        _catalog(clock, connect, migrated_settings, 45).transaction(_one)
    assert 45 <= clock.seconds <= 50
    with pytest.raises(errors.CatalogUnavailableError, match="2003"):
        _catalog(Clock(), connect, migrated_settings, 0).transaction(_one)


@pytest.mark.parametrize("code", [1290, 1792, 1836])
def test_a_demoted_writer_is_left_until_its_name_leads_to_the_new_one(migrated_settings: CatalogSettings, code: int) -> None:
    """The cluster's name leads to the old writer for some seconds yet, which answers, and is read-only."""
    clock = Clock()
    opened = []

    def connect(settings: CatalogSettings) -> pymysql.Connection[Any]:
        opened.append(open_connection(settings))
        return opened[-1]

    def work(cursor: Cursor) -> int:
        if clock.seconds < 10:
            raise pymysql.err.OperationalError(code, "read only")
        return len(cursor.rows("SELECT 1"))

    catalog = _catalog(clock, connect, migrated_settings, 45)
    assert catalog.transaction(work) == 1
    assert len(opened) > 2
    assert [one.open for one in opened] == [False] * (len(opened) - 1) + [True]
    catalog.close()


def test_a_writer_that_is_read_only_refuses_and_is_written_to_again_once_it_is_none(
    migrated_settings: CatalogSettings, mariadb_server: MariaDb
) -> None:
    """MariaDB's own answer in place of a made one: this session's transactions are read-only, as on a reader."""
    clock = Clock()

    def connect(settings: CatalogSettings) -> pymysql.Connection[Any]:
        connection = open_connection(settings)
        if clock.seconds < 10:
            connection.cursor().execute("SET SESSION TRANSACTION READ ONLY")
        return connection

    catalog = _catalog(clock, connect, migrated_settings, 45)
    assert catalog.transaction(lambda cursor: cursor.execute("DELETE FROM conflict WHERE level = 'none'")) == 0
    assert clock.seconds >= 10
    catalog.close()


def test_a_token_is_made_anew_at_each_connect(migrated_settings: CatalogSettings) -> None:
    admin = open_connection(migrated_settings)
    made: list[str] = []

    def make_token(host: str, port: int, user: str) -> str:
        made.append(f"token-{len(made)}-for-{user}-at-{host}-{port}")
        admin.cursor().execute(f"SET PASSWORD FOR CURRENT_USER = PASSWORD('{made[-1]}')")
        return made[-1]

    secret = f'{{"host": "127.0.0.1", "port": {migrated_settings.port}, "username": "u", "dbname": "d"}}'

    def load() -> CatalogSettings:
        by_token = CatalogSettings.of_secret(secret, tls="verify", ca_file=None, make_token=make_token)
        return replace(migrated_settings, password=by_token.password)

    catalog = Catalog(load)
    try:
        for _ in range(2):
            catalog.transaction(_one)
            catalog.transaction(_one)
            catalog.close()
    finally:
        admin.cursor().execute(f"SET PASSWORD FOR CURRENT_USER = PASSWORD('{migrated_settings.password}')")
        admin.close()
    assert made == [f"token-{number}-for-u-at-127.0.0.1-{migrated_settings.port}" for number in range(2)]


def test_iam_without_tls_and_an_unknown_way_to_log_in_are_refused(lambdas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for auth in ("iam", "kerberos"):
        monkeypatch.setenv("CATALOG_AUTH", auth)
        with pytest.raises(ContractError, match="CATALOG_AUTH"):
            environment.catalog_settings()


def test_an_iam_token_is_the_password_when_the_environment_says_so(lambdas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOG_AUTH", "iam")
    monkeypatch.setenv("CATALOG_TLS", "verify")
    settings = environment.catalog_settings()
    assert settings.password.startswith(f"{settings.host}:{settings.port}/?Action=connect&DBUser={settings.user}&")
    assert "X-Amz-Signature" in settings.password


def test_a_function_that_logs_in_by_iam_needs_no_secret(lambdas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATALOG_SECRET_ARN")
    place = {"HOST": "db.example.org", "PORT": "3307", "USER": "functions", "DATABASE": "ahi_ingest"}
    for name, value in {"AUTH": "iam", "TLS": "verify", **place}.items():
        monkeypatch.setenv(f"CATALOG_{name}", value)
    settings = environment.catalog_settings()
    assert (settings.host, settings.port, settings.user, settings.database) == (
        "db.example.org",
        3307,
        "functions",
        "ahi_ingest",
    )
    assert settings.password.startswith("db.example.org:3307/?Action=connect&DBUser=functions&")


@pytest.fixture(scope="module")
def tls_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CatalogSettings]:
    """A server for 127.0.0.1 with a certificate of the authority in `ca_file`."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = make_ca(folder, "ours")
    server = make_certificate(folder, "server", authority)
    options = [f"--ssl-cert={server.certificate}", f"--ssl-key={server.key}"]
    with MariaDb.start(tmp_path_factory.mktemp("mariadb-tls"), free_port(), options) as running:
        yield replace(settings_of(running.address), tls="verify", ca_file=str(authority.certificate))


def test_a_connection_is_encrypted_when_the_certificate_is_of_the_authority_in_the_file(tls_settings: CatalogSettings) -> None:
    catalog = Catalog(lambda: tls_settings)
    [row] = catalog.transaction(lambda cursor: cursor.rows("SHOW SESSION STATUS LIKE 'Ssl_version'"))
    assert row["Value"] in {"TLSv1.2", "TLSv1.3"}
    catalog.close()


@pytest.mark.parametrize("trusted", ["another authority", "the system's alone", "a server of another name"])
def test_a_server_that_cannot_prove_who_it_is_is_not_spoken_to(
    tls_settings: CatalogSettings, tmp_path: Path, trusted: str
) -> None:
    changed = {
        "another authority": replace(tls_settings, ca_file=str(make_ca(tmp_path, "other").certificate)),
        "the system's alone": replace(tls_settings, ca_file=None),
        "a server of another name": replace(tls_settings, host="localhost"),
    }
    catalog = Catalog(lambda: changed[trusted])
    with pytest.raises(errors.CatalogUnavailableError):
        catalog.transaction(_one)
