"""Fixtures for the machines with the real handlers: S3 with one association in memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.associations import PlacedAssociation, Placer
from tests.support.dicom import ct_series
from tests.support.memory_cloud import MemoryS3

PATIENT_ID = "PATIENT-7431"

PlacedOnce = tuple[PlacedAssociation, dict[tuple[str, str], bytes]]


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
