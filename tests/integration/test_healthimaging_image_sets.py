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


def instances(imports: Imports, image_set_id: str, **version: str) -> dict[str, Any]:
    answer = imports.client.get_image_set_metadata(
        datastoreId=imports.datastore_id,
        imageSetId=image_set_id,
        **version,
    )
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


def test_every_version_can_be_read_back(imports: Imports) -> None:
    ((image_set_id, _, _),) = sets(imports.run({"a": part10(SOPInstanceUID="1.1", InstanceNumber=1)}, "1/"))
    imports.run({"a": part10(SOPInstanceUID="1.1", InstanceNumber=2), "b": part10(SOPInstanceUID="1.2")}, "2/")
    where: Any = {"datastoreId": imports.datastore_id, "imageSetId": image_set_id}
    assert set(instances(imports, image_set_id, versionId="1")) == {"1.1"}
    assert instances(imports, image_set_id, versionId="1")["1.1"]["DICOM"]["InstanceNumber"] == "1"
    assert set(instances(imports, image_set_id)) == {"1.1", "1.2"}
    listed = imports.client.list_image_set_versions(**where)["imageSetPropertiesList"]
    assert [(one["versionId"], one["ImageSetWorkflowStatus"]) for one in listed] == [("2", "UPDATED"), ("1", "CREATED")]
    first, newest = imports.client.get_image_set(**where, versionId="1"), imports.client.get_image_set(**where)
    assert (first["versionId"], newest["versionId"]) == ("1", "2")
    assert first["createdAt"] == newest["createdAt"] <= first["updatedAt"] <= newest["updatedAt"]
    with pytest.raises(ClientError, match="ResourceNotFound"):
        imports.client.get_image_set(**where, versionId="3")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.202"),
        ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.202"),
        ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.50"),
        ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.102"),
    ],
)
def test_a_transfer_syntax_is_told_as_it_is_stored(imports: Imports, sent: str, stored: str) -> None:
    ((image_set_id, _, _),) = sets(imports.run({"a": part10(SOPInstanceUID="1.1", transfer_syntax=sent)}))
    assert instances(imports, image_set_id)["1.1"]["StoredTransferSyntaxUID"] == stored


def test_a_deleted_image_set_is_gone_and_its_series_begins_anew(imports: Imports) -> None:
    ((image_set_id, _, _),) = sets(imports.run({"a": part10()}))
    answer = imports.client.delete_image_set(datastoreId=imports.datastore_id, imageSetId=image_set_id)
    assert (answer["imageSetState"], answer["imageSetWorkflowStatus"]) == ("LOCKED", "DELETING")
    for call in (imports.client.get_image_set, imports.client.delete_image_set, imports.client.list_image_set_versions):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            call(datastoreId=imports.datastore_id, imageSetId=image_set_id)
    ((again, version, primary),) = sets(imports.run({"a": part10()}))
    assert (version, primary) == (1, True)
    assert again != image_set_id


class TestSearch:
    def found(self, imports: Imports, *filters: tuple[str, Any], sort: Any = None) -> list[str]:
        """Study and series of each, by filters (operator, values) in the form of the API."""
        criteria = {"filters": [{"operator": operator, "values": values} for operator, values in filters]}
        answer = imports.client.search_image_sets(
            datastoreId=imports.datastore_id,
            searchCriteria=criteria | ({"sort": sort} if sort else {}),  # type: ignore[arg-type]
        )
        return [item["DICOMTags"]["DICOMSeriesInstanceUID"] for item in answer["imageSetsMetadataSummaries"]]

    def equal(self, **value: Any) -> tuple[str, Any]:
        return "EQUAL", [value]

    @pytest.fixture
    def series(self, imports: Imports) -> None:
        """Series 1.1 and 1.2 of one study, and 9.1 of a later one."""
        study: Any = {"StudyInstanceUID": "1", "StudyDate": "20261124", "StudyTime": "0900"}
        other: Any = {"StudyInstanceUID": "9", "StudyDate": "20261125", "StudyTime": "1000", "PatientID": "P9"}
        imports.run({"a": part10(SeriesInstanceUID="1.1", **study)}, "1/")
        imports.run({"b": part10(SeriesInstanceUID="1.2", **study)}, "2/")
        imports.run({"c": part10(SeriesInstanceUID="9.1", **other)}, "3/")

    @pytest.mark.usefixtures("series")
    def test_image_sets_are_found_by_every_attribute(self, imports: Imports) -> None:
        assert self.found(imports, self.equal(DICOMSeriesInstanceUID="1.2")) == ["1.2"]
        assert sorted(self.found(imports, self.equal(DICOMStudyInstanceUID="1"))) == ["1.1", "1.2"]
        assert self.found(imports, self.equal(DICOMPatientId="P9")) == ["9.1"]
        assert len(self.found(imports, self.equal(DICOMAccessionNumber="A1"), self.equal(DICOMStudyId="S1"))) == 3
        assert self.found(imports, self.equal(DICOMStudyInstanceUID="1"), self.equal(isPrimary=False)) == []
        day = self.equal(DICOMStudyDateAndTime={"DICOMStudyDate": "20261125", "DICOMStudyTime": "1000"})
        assert self.found(imports, day) == ["9.1"]

    @pytest.mark.usefixtures("series")
    def test_moments_may_lie_between_two_others_and_sort_what_is_found(self, imports: Imports) -> None:
        days = [{"DICOMStudyDateAndTime": {"DICOMStudyDate": day}} for day in ("20261101", "20261124")]
        assert sorted(self.found(imports, ("BETWEEN", days))) == ["1.1", "1.2"]
        ever = [{"updatedAt": 0}, {"updatedAt": 4_000_000_000}]
        for order, expected in (("ASC", ["1.1", "1.2", "9.1"]), ("DESC", ["9.1", "1.2", "1.1"])):
            assert self.found(imports, ("BETWEEN", ever), sort={"sortField": "updatedAt", "sortOrder": order}) == expected
        assert self.found(imports, ("BETWEEN", [{"createdAt": 0}, {"createdAt": 1}])) == []

    @pytest.mark.parametrize(
        ("operator", "values"),
        [
            ("BETWEEN", [{"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}]),
            ("BETWEEN", [{"createdAt": 0}]),
            ("BETWEEN", [{"createdAt": 0}, {"updatedAt": 1}]),
            ("EQUAL", [{"createdAt": 0}, {"createdAt": 1}]),
            ("EQUAL", [{"DICOMStudyInstanceUID": "1.2.x"}]),
            ("EQUAL", [{"DICOMPatientId": "x" * 513}]),
        ],
    )
    def test_filters_that_make_no_sense_are_refused(self, imports: Imports, operator: str, values: Any) -> None:
        with pytest.raises(ClientError, match="ValidationException"):
            self.found(imports, (operator, values))


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
