"""How the HealthImaging emulator groups objects into image sets, and what it answers about them."""

from __future__ import annotations

import gzip
import json
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.support.healthimaging import Imports, Outputs, part10


def sets(outputs: Outputs) -> list[tuple[str, int, bool]]:
    return [(item["imageSetId"], item["imageSetVersion"], item["isPrimary"]) for item in outputs.summary["imageSetsSummary"]]


def instances(imports: Imports, image_set_id: str) -> dict[str, Any]:
    answer = imports.client.get_image_set_metadata(datastoreId=imports.datastore_id, imageSetId=image_set_id)
    assert answer["contentEncoding"] == "gzip"
    document = json.loads(gzip.decompress(answer["imageSetMetadataBlob"].read()))
    (series,) = document["Study"]["Series"].values()
    found: dict[str, Any] = series["Instances"]
    return found


def test_more_instances_of_a_series_make_the_next_version_of_its_primary_set(imports: Imports) -> None:
    ((first, version, primary),) = sets(
        imports.run({"a": part10(SOPInstanceUID="1.1"), "b": part10(SOPInstanceUID="1.2")}, "1/")
    )
    assert (version, primary) == (1, True)
    assert sets(imports.run({"c": part10(SOPInstanceUID="1.3")}, "2/")) == [(first, 2, True)]
    assert set(instances(imports, first)) == {"1.1", "1.2", "1.3"}


def test_an_instance_imported_again_wins_in_the_next_version(imports: Imports) -> None:
    ((image_set_id, _, _),) = sets(imports.run({"a": part10(SOPInstanceUID="1.1", InstanceNumber=1)}, "1/"))
    assert sets(imports.run({"a": part10(SOPInstanceUID="1.1", InstanceNumber=2)}, "2/")) == [(image_set_id, 2, True)]
    assert instances(imports, image_set_id)["1.1"]["DICOM"]["InstanceNumber"] == "2"


def test_an_instance_that_comes_twice_in_one_job_is_kept_once_and_the_later_key_wins(imports: Imports) -> None:
    outputs = imports.run(
        {"a": part10(SOPInstanceUID="1.1", InstanceNumber=1), "b": part10(SOPInstanceUID="1.1", InstanceNumber=2)}
    )
    ((image_set_id, version, _),) = sets(outputs)
    assert version == 1
    assert outputs.summary["numberOfImportedFiles"] == 2
    assert {uid: item["DICOM"]["InstanceNumber"] for uid, item in instances(imports, image_set_id).items()} == {"1.1": "2"}


@pytest.mark.parametrize(
    "difference",
    [
        {"PatientID": "P2"},
        {"PatientName": "Roe^Jane"},
        {"StudyDate": "20261125"},
        {"AccessionNumber": "A2"},
        {"SeriesNumber": 2},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_metadata_in_conflict_with_the_primary_set_makes_a_new_non_primary_set(
    imports: Imports, difference: dict[str, Any]
) -> None:
    ((primary, _, _),) = sets(imports.run({"a": part10()}, "1/"))
    ((other, version, is_primary),) = sets(imports.run({"b": part10(**difference)}, "2/"))
    assert other != primary
    assert (version, is_primary) == (1, False)


def test_another_series_of_the_study_that_calls_the_patient_otherwise_is_not_primary(imports: Imports) -> None:
    imports.run({"a": part10()}, "1/")
    ((_, _, is_primary),) = sets(imports.run({"b": part10(SeriesInstanceUID="1.2.3.5", PatientID="P2")}, "2/"))
    assert is_primary is False


def test_a_conflict_within_one_job_leaves_the_first_of_the_series_primary(imports: Imports) -> None:
    outputs = imports.run({"a": part10(), "b": part10(PatientID="P2"), "c": part10()})
    assert [is_primary for _, _, is_primary in sets(outputs)] == [True, False]
    assert outputs.success is not None
    by_key = {line["inputFile"]: line["importResponse"]["isPrimary"] for line in outputs.success}
    assert by_key == {"in/a": True, "in/b": False, "in/c": True}


def test_image_sets_are_found_by_series_and_study(imports: Imports) -> None:
    outputs = imports.run(
        {"a": part10(), "b": part10(SeriesInstanceUID="1.2.3.5"), "c": part10(StudyInstanceUID="9", SeriesInstanceUID="9.1")}
    )
    ids = [image_set_id for image_set_id, _, _ in sets(outputs)]

    def search(*filters: dict[str, Any]) -> list[str]:
        answer = imports.client.search_image_sets(
            datastoreId=imports.datastore_id,
            searchCriteria={"filters": [{"values": [value], "operator": "EQUAL"} for value in filters]},  # type: ignore[list-item]
        )
        return sorted(item["imageSetId"] for item in answer["imageSetsMetadataSummaries"])

    assert search({"DICOMSeriesInstanceUID": "1.2.3.5"}) == [ids[1]]
    assert search({"DICOMStudyInstanceUID": "1.2.3"}) == sorted(ids[:2])
    assert search({"DICOMStudyInstanceUID": "1.2.3"}, {"isPrimary": False}) == []
    assert search({"DICOMStudyInstanceUID": "1.2"}) == []


def test_a_search_that_is_not_emulated_is_refused_instead_of_answered_wrongly(imports: Imports) -> None:
    with pytest.raises(ClientError, match="EQUAL"):
        imports.client.search_image_sets(
            datastoreId=imports.datastore_id,
            searchCriteria={"filters": [{"values": [{"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}], "operator": "BETWEEN"}]},
        )


def test_an_image_set_is_read_back_in_its_current_version_only(imports: Imports) -> None:
    ((image_set_id, _, _),) = sets(imports.run({"a": part10()}, "1/"))
    imports.run({"b": part10()}, "2/")
    image_set = imports.client.get_image_set(datastoreId=imports.datastore_id, imageSetId=image_set_id, versionId="2")
    assert (image_set["versionId"], image_set["imageSetState"], image_set["isPrimary"]) == ("2", "ACTIVE", True)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        imports.client.get_image_set(datastoreId=imports.datastore_id, imageSetId=image_set_id, versionId="1")


class TestDataStores:
    def test_the_same_client_token_makes_one_data_store(self, imports: Imports) -> None:
        token = uuid4().hex
        answers = [imports.client.create_datastore(datastoreName="archive", clientToken=token) for _ in range(2)]
        assert answers[0]["datastoreId"] == answers[1]["datastoreId"]
        properties = imports.client.get_datastore(datastoreId=answers[0]["datastoreId"])["datastoreProperties"]
        assert (properties["datastoreName"], properties["datastoreStatus"]) == ("archive", "ACTIVE")

    def test_a_data_store_with_image_sets_is_not_deleted(self, imports: Imports) -> None:
        imports.run({"a": part10()})
        with pytest.raises(ClientError, match="ConflictException"):
            imports.client.delete_datastore(datastoreId=imports.datastore_id)

    def test_a_deleted_data_store_takes_no_more_jobs(self, imports: Imports) -> None:
        imports.client.delete_datastore(datastoreId=imports.datastore_id)
        listed = imports.client.list_datastores(datastoreStatus="DELETED")["datastoreSummaries"]
        assert imports.datastore_id in {item["datastoreId"] for item in listed}
        with pytest.raises(ClientError, match="ResourceNotFound"):
            imports.start()
