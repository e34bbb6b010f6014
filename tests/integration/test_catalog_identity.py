"""Who is one patient to the catalog: by PatientID within its issuer, or else by the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdas.adapters.aws import Storage
from lambdas.catalog import associations
from lambdas.logic.indexing import Slice, SliceResult, index_slice
from tests.support.associations import Placer
from tests.support.catalog import rows
from tests.support.dicom import ct_series

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import PlacedAssociation


def _index(catalog: Catalog, aws: Aws, placed: PlacedAssociation, issuers: Mapping[str, str]) -> SliceResult:
    catalog.transaction(lambda cursor: associations.register(cursor, placed.announcement, placed.manifest))
    whole = Slice(
        association=placed.association,
        edge=placed.manifest.edge,
        bucket=placed.bucket,
        part=1,
        first=0,
        count=len(placed.entries),
    )
    return index_slice(catalog, Storage(aws.session, endpoint_url=aws.endpoint_url), whole, issuers)


@pytest.mark.parametrize(
    ("issuers", "patients"),
    [
        ({}, [("1234", None)]),
        ({"clinic": "CLINIC"}, [("1234", "CLINIC"), ("1234", None)]),
        ({"clinic": "CLINIC", "campus": "CAMPUS"}, [("1234", "CAMPUS"), ("1234", "CLINIC")]),
        ({"clinic": "CLINIC", "campus": "CAMPUS", "campus/CT_1": "CLINIC"}, [("1234", "CLINIC")]),
    ],
)
def test_one_id_from_two_edges_is_as_many_patients_as_there_are_issuers(
    aws: Aws, bucket: str, catalog: Catalog, tmp_path: Path, *, issuers: dict[str, str], patients: list[tuple[str, str | None]]
) -> None:
    for edge in ("clinic", "campus"):
        [path] = ct_series(tmp_path / edge, 1, patient_id="1234")
        _index(catalog, aws, Placer(aws=aws, bucket=bucket, edge=edge).place([path.read_bytes()]), issuers)
    found = [(row["patient_id"], row["effective_issuer"]) for row in rows(catalog, "patient")]
    assert sorted(found, key=str) == patients
    assert len(rows(catalog, "study")) == 2
    assert len({row["patient_key"] for row in rows(catalog, "study")}) == len(patients)


def test_a_default_issuer_that_changed_moves_a_study_when_it_is_indexed_again_and_is_no_conflict(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    placed = placer.place([path.read_bytes() for path in ct_series(tmp_path, 3, patient_id="1234")])
    for issuers, issuer in (({}, None), ({placer.edge: "CLINIC"}, "CLINIC"), ({placer.edge: "CAMPUS"}, "CAMPUS")):
        _index(catalog, aws, placed, issuers)
        assert [(row["patient_id"], row["effective_issuer"]) for row in rows(catalog, "study_list")] == [("1234", issuer)]
    assert rows(catalog, "conflict") == []


def test_300_slices_without_an_id_are_one_patient_and_another_study_is_another(
    aws: Aws, placer: Placer, catalog: Catalog, tmp_path: Path
) -> None:
    for count in (300, 1):
        files = [path.read_bytes() for path in ct_series(tmp_path / str(count), count, patient_id="", pixels=bytes(64))]
        assert _index(catalog, aws, placer.place(files), {placer.edge: "CLINIC"}).indexed == count
    assert [(row["patient_id"], row["effective_issuer"]) for row in rows(catalog, "patient")] == [(None, None)] * 2
    assert {row["patient_key"] for row in rows(catalog, "patient")} == {row["patient_key"] for row in rows(catalog, "study")}
    assert rows(catalog, "conflict") == []
