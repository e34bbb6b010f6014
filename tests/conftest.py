"""Fixtures that any test may ask for: the servers of the local stack, started once per session when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pymysql
import pytest

from lambdas.catalog import Catalog, CatalogSettings, migrate
from local.healthimaging.launch import HealthImaging
from local.mariadb import DatabaseAddress, MariaDb
from local.ministack import MiniStack
from local.processes import free_port
from tests.support.catalog import empty, settings_of
from tests.support.healthimaging import Imports, set_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.aws import Aws


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """One MariaDB for the session."""
    with MariaDb.start(tmp_path_factory.mktemp("mariadb"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def new_catalog_database(mariadb_server: MariaDb) -> Iterator[Callable[[], DatabaseAddress]]:
    """Makes an empty database at each call, for tests that want one per module, or several."""
    address = mariadb_server.address
    made: list[str] = []

    def new() -> DatabaseAddress:
        name = f"ahi_ingest_{uuid4().hex[:12]}"
        with pymysql.connect(host=address.host, port=address.port, user=address.user, password=address.password) as connection:
            connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        made.append(name)
        return DatabaseAddress(
            host=address.host, port=address.port, user=address.user, password=address.password, database=name
        )

    yield new
    with pymysql.connect(host=address.host, port=address.port, user=address.user, password=address.password) as connection:
        for name in made:
            connection.cursor().execute(f"DROP DATABASE {name}")


@pytest.fixture
def catalog_database(new_catalog_database: Callable[[], DatabaseAddress]) -> DatabaseAddress:
    """A fresh, empty database for this test."""
    return new_catalog_database()


@pytest.fixture(scope="session")
def migrated_settings(new_catalog_database: Callable[[], DatabaseAddress]) -> CatalogSettings:
    """A database with the catalog's tables, for all tests that begin with empty ones."""
    settings = settings_of(new_catalog_database())
    migrate(settings)
    return settings


@pytest.fixture
def catalog(migrated_settings: CatalogSettings) -> Iterator[Catalog]:
    """The catalog, empty."""
    catalog = Catalog(lambda: migrated_settings)
    empty(catalog)
    yield catalog
    catalog.close()


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """One AWS emulator for the session: give buckets, queues and functions names of their own."""
    with MiniStack.start(tmp_path_factory.mktemp("ministack"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def aws(ministack: MiniStack) -> Aws:
    """Clients for the session's AWS emulator."""
    return ministack.aws


@pytest.fixture
def bucket(aws: Aws) -> str:
    """A fresh, empty bucket for this test."""
    name = f"bucket-{uuid4().hex[:12]}"
    aws.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def healthimaging_server(ministack: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealthImaging]:
    """One HealthImaging emulator for the session, on the session's S3, with jobs that take no time and no rate limits."""
    with HealthImaging.start(
        tmp_path_factory.mktemp("healthimaging"),
        free_port(),
        s3_endpoint=ministack.endpoint_url,
        datastore_id="0" * 32,
        options=["--job-seconds", "0", "--rate", "all=10000/10000"],
    ) as server:
        yield server


@pytest.fixture
def healthimaging(healthimaging_server: HealthImaging) -> Iterator[HealthImaging]:
    """The session's HealthImaging emulator, without faults at the start and at the end of the test."""
    set_faults(healthimaging_server)
    yield healthimaging_server
    set_faults(healthimaging_server)


@pytest.fixture
def imports(healthimaging: HealthImaging, aws: Aws, bucket: str) -> Imports:
    """A fresh data store and bucket, and imports between them."""
    return Imports(healthimaging, aws.s3, bucket)
