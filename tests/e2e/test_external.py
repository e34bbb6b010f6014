"""Objects that are copied into the bucket without the receiver: through S3's own events, the queue and the deployed Lambda."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, Study, connect
from tests.support.dicom import ct_series
from tests.support.pipeline import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def catalog(stack: RunningStack) -> Iterator[Queries]:
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as queries:
        yield queries


def test_what_is_copied_under_external_is_listed_as_not_imported(stack: RunningStack, catalog: Queries, tmp_path: Path) -> None:
    paths = ct_series(tmp_path, 3, patient_id="EXTERNAL-1")
    for path in paths:
        stack.aws.s3.upload_file(str(path), stack.endpoints["bucket"], f"external/archive 1/{path.name}")
    study_uid = dcmread(paths[0]).StudyInstanceUID

    def found() -> list[Study]:
        return [study for study in catalog.study_list(1000) if study.study_instance_uid == study_uid]

    wait_until(lambda: [study.instance_count for study in found()] == [3], "in the list of studies")
    (study,) = found()
    assert (study.status, study.patient_id, study.imported_count) == ("NOT_IMPORTED", "EXTERNAL-1", 0)
