"""Rebuilding where attempts are missing that nobody knows a job of."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from console.aws import Cloud
from console.history import Attempted, Remembered
from console.rebuilding import Rebuilding
from console.stack import Stack
from lambdas.catalog import orphans
from lambdas.catalog.imports import AttemptKey
from lambdas.catalog.queries import Queries
from lambdas.logic.issuers import parse_issuers
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.support.dicom import ct_series
from tests.support.lambdas import DATASTORE, Run

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog, CatalogSettings
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


def stack_of(aws: Aws, bucket: str, settings: CatalogSettings) -> Stack:
    endpoint = {
        "endpoint_url": aws.endpoint_url,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
        "region": REGION,
    }
    return Stack(
        cloud=Cloud.of_endpoints({"aws": endpoint, "stepfunctions": endpoint, "medical_imaging": endpoint}),
        bucket=bucket,
        queues=(),
        ingest_machine_arn="",
        import_machine_arn="",
        datastore_id=DATASTORE,
        catalog_settings=settings,
    )


def test_an_attempt_after_one_without_a_job_is_rebuilt(
    aws: Aws, placer: Placer, catalog: Catalog, migrated_settings: CatalogSettings, tmp_path: Path
) -> None:
    run = Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 2)]))
    run.register()
    placed = run.placed
    folder = f"imports/edge-1/{placed.association}/1/2/{DATASTORE}-DicomImport-job2/"
    run.imported().write(aws, placed.bucket, folder)
    second = Attempted(
        key=AttemptKey(association=placed.association, part=1, attempt=2),
        edge="edge-1",
        job_id="job2",
        status="COMPLETED",
        message="",
        output_s3_uri=f"s3://{placed.bucket}/{folder}",
        at=datetime.now(UTC),
        execution_arn="",
        opened_by={},
    )
    stack = stack_of(aws, placed.bucket, migrated_settings)
    with closing(Rebuilding(stack, migrated_settings, parse_issuers("{}"), at_once=1)) as rebuilding:
        assert list(rebuilding.import_([second])) == [None]
    jobs = Queries(catalog).import_jobs(placed.association)
    assert [(job.status, job.error) for job in jobs] == [("FAILED", "Import.NotStarted"), ("COMPLETED", None)]
    assert {one.import_status for one in Queries(catalog).stored_objects(placed.association)} == {"IMPORTED"}


def test_people_are_not_told_of_what_was_news_long_ago(
    aws: Aws, placer: Placer, catalog: Catalog, migrated_settings: CatalogSettings
) -> None:
    placed = placer.place(quarantined=[b"not DICOM"])
    remembered = [Remembered(announcement=placed.announcement, run=None)]
    stack = stack_of(aws, placed.bucket, migrated_settings)
    with closing(Rebuilding(stack, migrated_settings, parse_issuers("{}"), at_once=1)) as rebuilding:
        assert list(rebuilding.register(remembered)) == [None]
        assert list(rebuilding.index(remembered)) == [None]
    assert [row.status for row in Queries(catalog).associations()] == ["INCOMPLETE"]
    assert catalog.transaction(orphans.untold) == []
