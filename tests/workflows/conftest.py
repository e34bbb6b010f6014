"""Fixtures for the machines with the real handlers: one catalog for the session, and S3 with one association in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.catalog import Catalog, CatalogSettings, migrate
from tests.support.associations import PlacedAssociation, Placer
from tests.support.catalog import empty, settings_of
from tests.support.dicom import ct_series
from tests.support.memory_cloud import MemoryS3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.mariadb import DatabaseAddress

PATIENT_ID = "PATIENT-7431"

PlacedOnce = tuple[PlacedAssociation, dict[tuple[str, str], bytes]]


@pytest.fixture(scope="session")
def ingest_settings(new_catalog_database: Callable[[], DatabaseAddress]) -> CatalogSettings:
    """A database with the catalog's tables."""
    settings = settings_of(new_catalog_database())
    migrate(settings)
    return settings


@pytest.fixture
def ingest_catalog(ingest_settings: CatalogSettings) -> Iterator[Catalog]:
    """The catalog, empty."""
    catalog = Catalog(lambda: ingest_settings)
    empty(catalog)
    yield catalog
    catalog.close()


@pytest.fixture(scope="session")
def placed_once(tmp_path_factory: pytest.TempPathFactory) -> PlacedOnce:
    """An association of three objects, and what S3 holds of it."""
    s3: Any = MemoryS3()
    files = ct_series(tmp_path_factory.mktemp("series"), 3, patient_id=PATIENT_ID, pixels=bytes(16))
    placed = Placer(aws=s3, bucket="images").place([path.read_bytes() for path in files])
    return placed, s3.objects


@pytest.fixture
def placed(placed_once: PlacedOnce) -> PlacedAssociation:
    return placed_once[0]
