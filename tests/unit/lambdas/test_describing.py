"""What becomes of an object's values: decoded by its own character set, kept where they are not as DICOM writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from lambdas.catalog.associations import Origin
from lambdas.catalog.attributes import Level
from lambdas.catalog.objects import Described, Listed
from lambdas.logic.describing import describe
from lambdas.logic.header import UnreadableError, read_header
from tests.support.associations import entry_of
from tests.support.dicom import BUNDLED
from tests.support.elements import element, part10

ASSOCIATION = "20261124T021501Z-CT_1-9f3c2a71"
ORIGIN = Origin(sequence=1, sent_at_ms=1)


def listed(file: bytes) -> Listed:
    entry = entry_of(ASSOCIATION, 1, file)
    return Listed(association=ASSOCIATION, bucket="bucket", part=1, position=0, entry=entry, object_order="order")


def described(file: bytes, as_listed: Listed | None = None) -> Described:
    header = read_header(lambda first, count: file[first : first + count], len(file))
    return describe(header, as_listed or listed(file), ORIGIN)


def object_with(**values: Any) -> bytes:
    """A Part 10 file of a few elements; bytes are written as they are."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set = FileDataset(DicomBytesIO(), Dataset(), file_meta=meta, preamble=bytes(128))
    data_set.SOPInstanceUID, data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "1.2.3", "1.2.3.4", "1.2.3.4.5"
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    buffer = DicomBytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def replaced(file: bytes, before: bytes, after: bytes) -> bytes:
    assert len(before) == len(after)
    assert file.count(before) == 1
    return file.replace(before, after)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrKoreanMulti.dcm", "김희중"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrX2.dcm", "Wang^XiaoDong=王^小东"),
        ("chrFrenMulti.dcm", "Buc^Jérôme"),
    ],
)
def test_names_are_decoded_by_the_objects_own_character_set(file: str, name: str) -> None:
    said = described((BUNDLED / "charset_files" / file).read_bytes())
    assert said.levels[Level.PATIENT].values["patient_name"] == name


@pytest.mark.parametrize(
    ("written", "day", "raw"),
    [
        (b"19970415", date(1997, 4, 15), None),
        (b"1997.4.1", None, "1997.4.1"),
        (b"199704  ", None, "199704"),
        (b"19970431", None, "19970431"),
        (b"00000000", None, "00000000"),
        (b"        ", None, None),
    ],
)
def test_a_date_is_a_date_or_kept_as_it_is_written(written: bytes, day: date | None, raw: str | None) -> None:
    study = described(replaced(object_with(StudyDate="22221122"), b"22221122", written)).levels[Level.STUDY]
    assert study.values.get("study_date") == day
    assert study.raw_values == (None if raw is None else json.dumps({"StudyDate": raw}))


def test_a_date_as_acr_nema_wrote_it_is_read_and_its_form_is_kept() -> None:
    file = part10(element(0x00080018, b"UI", b"1.2.3\0") + element(0x00080020, b"DA", b"1997.04.15"))
    study = described(file).levels[Level.STUDY]
    assert study.values["study_date"] == date(1997, 4, 15)
    assert json.loads(study.raw_values or "") == {"StudyDate": "1997.04.15"}


def test_values_are_told_neither_by_warnings_nor_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """pydicom writes into its log what a character set is called that it does not know, and warns of it."""
    file = part10(
        element(0x00080005, b"CS", b"DOE^JANE")
        + element(0x00080018, b"UI", b"1.2.3\0")
        + element(0x00080020, b"DA", b"DOE^JOHN")
    )
    as_listed = listed(file)
    caplog.clear()
    assert described(file, as_listed).levels[Level.STUDY].raw_values == '{"StudyDate": "DOE^JOHN"}'
    assert caplog.text == ""


@pytest.mark.parametrize(("written", "number"), [(b" 12 ", 12), (b"1e3 ", None), (b"x12 ", None), (b"-3  ", -3)])
def test_a_number_is_a_number_or_kept_as_it_is_written(written: bytes, number: int | None) -> None:
    series = described(replaced(object_with(SeriesNumber="7777"), b"7777", written)).levels[Level.SERIES]
    assert series.values.get("series_number") == number
    kept = json.loads(series.raw_values or "{}").get("SeriesNumber")
    assert kept == (None if number is not None else written.decode().strip())


def test_values_lose_padding_only_and_a_lists_values_stay_apart() -> None:
    said = described(
        object_with(
            SpecificCharacterSet="ISO_IR 100", PatientID=" äb1 ", AccessionNumber="0" * 16, ImageType=["ORIGINAL", "", "AXIAL"]
        )
    )
    assert said.levels[Level.PATIENT].values["patient_id"] == "äb1"
    assert said.levels[Level.STUDY].values["accession_number"] == "0" * 16
    assert json.loads(str(said.levels[Level.INSTANCE].values["image_type"])) == ["ORIGINAL", "", "AXIAL"]


def test_a_uid_that_the_data_set_lacks_is_the_manifests_and_none_at_all_is_refused() -> None:
    whole, bare = listed(object_with()), part10(b"")
    assert described(bare, whole).sop_instance_uid == "1.2.3"
    with pytest.raises(UnreadableError, match="no SOP Instance UID"):
        described(bare, replace(whole, entry=replace(whole.entry, sop_instance_uid="")))


def test_an_object_without_study_and_patient_has_neither() -> None:
    said = described(object_with(StudyInstanceUID="", SeriesInstanceUID=""))
    assert (said.study_instance_uid, said.series_instance_uid, said.patient_key) == (None, None, None)


def test_a_uid_that_is_none_is_kept_under_a_name_of_its_own() -> None:
    first = described(replaced(object_with(StudyInstanceUID="9.9.9.9.9.9"), b"9.9.9.9.9.9", b"../../../..")).study_instance_uid
    second = described(replaced(object_with(StudyInstanceUID="9.9.9.9.9.9"), b"9.9.9.9.9.9", b"../../.._..")).study_instance_uid
    assert first is not None
    assert first != second
    assert "/" not in first


def test_bundled_objects_say_what_pydicom_reads() -> None:
    for name in (
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
        "MR_small_implicit.dcm",
    ):
        path = BUNDLED / "test_files" / name
        said, read = described(path.read_bytes()), dcmread(path)
        assert said.sop_instance_uid == read.SOPInstanceUID
        assert said.levels[Level.PATIENT].values.get("patient_name") == (str(read.PatientName) or None)
        assert said.levels[Level.INSTANCE].values.get("rows") == read.get("Rows")
        assert said.levels[Level.SERIES].values["modality"] == read.Modality
