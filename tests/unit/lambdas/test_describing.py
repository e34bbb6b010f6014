"""What becomes of an object's values: decoded by its own character set, kept where they are not as DICOM writes them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from contract.manifest import Entry
from contract.strict import ContractError
from lambdas.catalog.associations import Origin
from lambdas.catalog.attributes import Level
from lambdas.catalog.objects import Described, LevelValues
from lambdas.logic.describing import TAGS, VALUES_MAX_CHARACTERS, describe
from lambdas.logic.header import FIRST_READ_BYTES, UnreadableError, read_header
from lambdas.logic.issuers import default_issuer, parse_issuers
from lambdas.logic.order import object_order
from tests.support.associations import entry_of
from tests.support.dicom import BUNDLED
from tests.support.elements import BIG, IMPLICIT, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, element, implicit, part10, undefined

ASSOCIATION = "20261124T021501Z-CT_1-9f3c2a71"
ORDER = object_order(Origin(sequence=1, sent_at_ms=1), ASSOCIATION, 1, 0)


LONG_ITEM = ITEM + struct.pack("<L", 5_000_000) + bytes(5_000_000)


def listed(file: bytes) -> Entry:
    return entry_of(ASSOCIATION, 1, file)


def described(file: bytes, as_listed: Entry | None = None, default_issuer: str = "") -> Described:
    header = read_header(lambda first, count: file[first : first + count], len(file), TAGS)
    return describe(header, object_order=ORDER, listed=as_listed or listed(file), default_issuer=default_issuer)


def with_elements(*elements: bytes) -> bytes:
    """A Part 10 file of a SOP Instance UID and the elements, which are given in the order of their tags."""
    sop_instance_uid = element(0x00080018, b"UI", b"1.2.3\0")
    before = [one for one in elements if one[:4] < sop_instance_uid[:4]]
    return part10(b"".join([*before, sop_instance_uid, *elements[len(before) :]]))


def named(name: bytes, *character_sets: bytes) -> LevelValues:
    """What is said of a patient whose name is written so, by an object with these character sets."""
    declared = [element(0x00080005, b"CS", b"\\".join(character_sets))] if character_sets else []
    return described(with_elements(*declared, element(0x00100010, b"PN", name))).levels[Level.PATIENT]


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
        described(bare, replace(whole, sop_instance_uid=""))


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


REFERENCE = ITEM + struct.pack("<L", 92) + implicit(0x00081150, b"1.2.840.") + implicit(0x00081155, b"9" * 68)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "long",
    [
        implicit(0x00081140, REFERENCE * 203),  # of 20,300 bytes, which end as LO begins
        implicit(0x00090010, b"ACME") + implicit(0x00091001, bytes(20_304)),  # PO, which is no VR
    ],
)
def test_what_an_implicit_object_says_after_a_long_element_is_read(long: bytes, nested: bool) -> None:
    if nested:
        items = ITEM + UNDEFINED + long + ITEM_END
        long = struct.pack("<HH", 0x0008, 0x1200) + UNDEFINED + items + SEQUENCE_END
    before = implicit(0x00080005, b"ISO_IR 100") + implicit(0x00080018, b"1.2.3\0") + implicit(0x00080060, b"CT")
    after = [(0x00100010, b"M\xfcller"), (0x00100020, b"1234"), (0x0020000D, b"1.2.3.4\0"), (0x00280010, b"\2\0")]
    file = part10(before + long + b"".join(implicit(*one) for one in after), IMPLICIT)
    said = described(file)
    assert (said.study_instance_uid, said.has_patient_id) == ("1.2.3.4", True)
    assert said.levels[Level.PATIENT].values == {"patient_id": "1234", "patient_name": "Müller"}
    assert said.levels[Level.INSTANCE].values["rows"] == 2


def test_a_long_first_element_of_an_implicit_object_keeps_no_value_from_being_decoded() -> None:
    after = [(0x00080005, b"ISO_IR 192"), (0x00080018, b"1.2.3\0"), (0x00100010, "Müller".encode())]
    file = part10(implicit(0x00080001, bytes(20_300)) + b"".join(implicit(*one) for one in after), IMPLICIT)
    assert described(file).levels[Level.PATIENT].values["patient_name"] == "Müller"


@pytest.mark.parametrize(
    ("sop_class", "modality", "content"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", element(0x00420011, b"OB", bytes(5_000_000))),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR", element(0x00700001, b"SQ", LONG_ITEM)),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG", element(0x54000100, b"SQ", LONG_ITEM)),
        ("1.2.840.10008.5.1.4.1.1.88.33", "SR", element(0x0040A730, b"SQ", LONG_ITEM)),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", element(0x30060039, b"SQ", LONG_ITEM)),
    ],
)
def test_objects_without_pixels_are_read_up_to_their_content(sop_class: str, modality: str, content: bytes) -> None:
    parts = [(0x00080016, b"UI", f"{sop_class}\0"), (0x00080018, b"UI", "1.2.3\0"), (0x00080060, b"CS", modality)]
    file = part10(b"".join(element(tag, vr, value.encode()) for tag, vr, value in parts) + content)
    header = read_header(lambda first, count: file[first : first + count], len(file), TAGS)
    assert header.fetched_bytes == FIRST_READ_BYTES
    said = describe(header, object_order=ORDER)
    assert (said.sop_class_uid, said.levels[Level.SERIES].values["modality"]) == (sop_class, modality)


@pytest.mark.parametrize(
    ("character_sets", "written", "name"),
    [
        ([b"ISO_IR 192"], "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
        ([b"GB18030"], "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
        ([b"ISO_IR 144"], "Жуков".encode("iso8859_5"), "Жуков"),
        ([b"", b"ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"),
        ([b"ISO_IR 6"], b"Doe^Jane", "Doe^Jane"),
        ([], b"Doe^Jane^^Dr^MD=", "Doe^Jane^^Dr^MD="),
    ],
)
def test_text_in_a_character_set_that_the_object_names_has_no_note(
    character_sets: list[bytes], written: bytes, name: str
) -> None:
    said = named(written, *character_sets)
    assert (said.values["patient_name"], said.raw_values, said.value_notes) == (name.rstrip("="), None, None)


@pytest.mark.parametrize(
    ("character_sets", "written", "name", "raw", "note"),
    [
        ([b"ISO_IR 192"], b"M\xfcller", "M\ufffdller", "M\xfcller", "not in the object's character set"),
        ([b"", b"ISO 2022 IR 87"], b"\x1b$BM\x1b(B", "\x1b$BM", "\x1b$BM\x1b(B", "not in the object's character set"),
        ([b"ISO_IR 6"], b"M\xfcller", "Müller", None, "names no character set"),
        ([], b"M\xfcller", "Müller", None, "names no character set"),
        ([], "Müller".encode(), "MÃ¼ller", None, "names no character set"),
        ([b"ISO_IR 999"], b"M\xfcller", "Müller", None, "none that DICOM defines"),
        ([b"ISO-IR 100"], b"M\xfcller", "Müller", None, "none that DICOM defines"),
    ],
)
def test_text_that_may_be_read_wrongly_is_kept_with_a_note(
    character_sets: list[bytes], written: bytes, name: str, raw: str | None, note: str | None
) -> None:
    said = named(written, *character_sets)
    assert said.values["patient_name"] == name
    assert json.loads(said.raw_values or "{}").get("PatientName") == raw
    assert note in json.loads(said.value_notes or "{}")["PatientName"]


def test_a_name_keeps_its_three_groups_and_its_components() -> None:
    said = named("Yamada^Tarou=山田^太郎=やまだ^たろう".encode(), b"ISO_IR 192")
    assert said.values["patient_name"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert named("==やまだ^たろう".encode(), b"ISO_IR 192").values["patient_name"] == "==やまだ^たろう"


def test_several_names_are_a_list_and_several_values_of_a_single_one_stay_joined() -> None:
    file = with_elements(
        element(0x00081070, b"PN", b"Doe^Jane\\Roe^Richard "),
        element(0x00100020, b"LO", b"1234\\5678 "),
    )
    said = described(file)
    assert said.levels[Level.SERIES].values["operators_name"] == '["Doe^Jane", "Roe^Richard"]'
    assert said.levels[Level.PATIENT].values["patient_id"] == "1234\\5678"


@pytest.mark.parametrize("padding", [b"", b" ", b"\0", b"\0\0\0", b" \0"])
def test_padding_of_any_kind_is_no_part_of_a_value(padding: bytes) -> None:
    said = described(with_elements(element(0x00100020, b"LO", b"1234" + padding)))
    assert said.levels[Level.PATIENT].values["patient_id"] == "1234"
    assert said.patient_key == described(with_elements(element(0x00100020, b"LO", b" 1234"))).patient_key


def test_spaces_before_free_text_are_part_of_it() -> None:
    said = described(with_elements(element(0x00104000, b"LT", b"  * allergic\r\n    to latex  ")))
    assert said.levels[Level.PATIENT].values["patient_comments"] == "  * allergic\r\n    to latex"


@pytest.mark.parametrize(
    ("written", "number"),
    [(b"1.5 ", 1.5), (b"-.5E1 ", -5.0), (b"+0 ", 0.0), (b"1,5 ", None), (b"1e999 ", None), (b"NaN ", None), (b"1\\2 ", None)],
)
def test_a_decimal_is_a_number_or_kept_as_it_is_written(written: bytes, number: float | None) -> None:
    said = described(with_elements(element(0x00180050, b"DS", written))).levels[Level.INSTANCE]
    assert said.values.get("slice_thickness") == number
    kept = None if number is not None else written.decode().strip()
    assert json.loads(said.raw_values or "{}").get("SliceThickness") == kept
    assert json.loads(said.value_notes or "{}").get("SliceThickness") == (None if number is not None else "no number")


@pytest.mark.parametrize("written", [b"99999999999 ", b"1_000 ", b"12.0", b"\xb2 "])
def test_what_python_takes_for_a_whole_number_and_dicom_does_not_is_kept_as_it_is_written(written: bytes) -> None:
    said = described(with_elements(element(0x00200013, b"IS", written))).levels[Level.INSTANCE]
    assert "instance_number" not in said.values
    assert json.loads(said.raw_values or "{}")["InstanceNumber"] == written.decode("latin-1").strip()


def test_a_binary_number_of_a_wrong_length_is_kept_and_stops_nothing() -> None:
    said = described(with_elements(element(0x00280010, b"US", b"\1\2\3"), element(0x00280011, b"US", b"\1\0")))
    assert said.levels[Level.INSTANCE].values.get("rows") is None
    assert said.levels[Level.INSTANCE].values["columns"] == 1
    assert "Rows" in (said.levels[Level.INSTANCE].raw_values or "")


@pytest.mark.parametrize("written", [b"20260101-20260201", b"1997", b"19970415103000", b"yesterday "])
def test_a_range_a_part_of_a_date_and_a_word_are_no_dates_and_kept(written: bytes) -> None:
    said = described(with_elements(element(0x00080020, b"DA", written))).levels[Level.STUDY]
    assert "study_date" not in said.values
    assert json.loads(said.raw_values or "{}") == {"StudyDate": written.decode().strip()}
    assert json.loads(said.value_notes or "{}") == {"StudyDate": "no date"}


@pytest.mark.parametrize("written", [b"081500.123456", b"08:15:00", b"08", b"0815-0915 "])
def test_times_of_any_form_are_kept_as_they_are_written(written: bytes) -> None:
    said = described(with_elements(element(0x00080030, b"TM", written))).levels[Level.STUDY]
    assert said.values["study_time"] == written.decode().strip()


def test_codes_are_lists_of_value_scheme_and_meaning_in_the_objects_character_set() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-A0100", "SRT", "Großhirn"
    bare = Dataset()
    bare.LongCodeValue = "x" * 20
    said = described(object_with(SpecificCharacterSet="ISO_IR 100", AnatomicRegionSequence=[code, bare]))
    assert json.loads(str(said.levels[Level.INSTANCE].values["anatomic_region_sequence"])) == [
        ["T-A0100", "SRT", "Großhirn"],
        ["x" * 20, "", ""],
    ]


@pytest.mark.parametrize("delimited", [False, True])
@pytest.mark.parametrize(
    ("character_sets", "meaning", "shown", "note"),
    [
        ([b"ISO_IR 192"], b"M\xfcll", "M\ufffdll", "not in the object's character set"),
        ([], b"M\xfcll", "Müll", "names no character set"),
        ([b"ISO_IR 999"], b"M\xfcll", "Müll", "none that DICOM defines"),
        ([b"ISO_IR 100"], b"M\xfcll", "Müll", None),
        ([], b"Mull", "Mull", None),
    ],
)
def test_a_code_that_may_be_read_wrongly_is_kept_with_a_note(
    character_sets: list[bytes], meaning: bytes, shown: str, note: str | None, *, delimited: bool
) -> None:
    item = element(0x00080100, b"SH", b"1 ") + element(0x00080104, b"LO", meaning)
    if delimited:
        codes = undefined(0x00081032, b"SQ", ITEM + UNDEFINED + item + ITEM_END)
    else:
        codes = element(0x00081032, b"SQ", ITEM + struct.pack("<L", len(item)) + item)
    declared = [element(0x00080005, b"CS", one) for one in character_sets]
    study = described(with_elements(*declared, codes)).levels[Level.STUDY]
    assert study.values["procedure_code_sequence"] == f'[["1", "", "{shown}"]]'
    assert (note or "no note") in json.loads(study.value_notes or "{}").get("ProcedureCodeSequence", "no note")
    was_replaced = note is not None and "not in" in note
    assert ("M\xfcll" in json.loads(study.raw_values or "{}").get("ProcedureCodeSequence", "")) is (
        was_replaced and not delimited
    )


def test_codes_of_unknown_length_that_cannot_be_converted_are_noted() -> None:
    item = element(0x00080100, b"US", b"\1\2\3")
    study = described(with_elements(undefined(0x00081032, b"SQ", ITEM + UNDEFINED + item + ITEM_END))).levels[Level.STUDY]
    assert "procedure_code_sequence" not in study.values
    assert json.loads(study.value_notes or "{}") == {"ProcedureCodeSequence": "not of its value representation: not shown"}


def test_the_same_bytes_are_what_each_object_and_each_column_takes_them_for() -> None:
    big = struct.pack(">HH2sH6s", 0x0008, 0x0018, b"UI", 6, b"1.2.3\0") + struct.pack(
        ">HH2sH2s", 0x0028, 0x0010, b"US", 2, b"\0\1"
    )
    files = [with_elements(element(0x00280010, b"US", b"\0\1")), part10(big, BIG)]
    assert [described(file).levels[Level.INSTANCE].values["rows"] for file in files] == [256, 1]

    day = b"20261124"
    study = (
        described(with_elements(element(0x00080020, b"DA", day), element(0x00200010, b"DA", day))).levels[Level.STUDY].values
    )
    assert (study["study_date"], study["study_id"]) == (date(2026, 11, 24), "20261124")

    files = [with_elements(element(0x00081030, vr, b"  x ")) for vr in (b"LO", b"UT")]
    assert [described(file).levels[Level.STUDY].values["study_description"] for file in files] == ["x", "  x"]


def test_what_should_be_codes_and_is_none_is_kept() -> None:
    said = described(with_elements(element(0x00081032, b"LO", b"CT HEAD "))).levels[Level.STUDY]
    assert said.values.get("procedure_code_sequence") is None
    assert json.loads(said.raw_values or "{}") == {"ProcedureCodeSequence": "CT HEAD"}


def test_values_longer_than_dicom_allows_are_kept_whole_until_no_row_holds_them() -> None:
    said = described(with_elements(element(0x00081030, b"UT", b"x" * 300_000)))
    assert said.levels[Level.STUDY].values["study_description"] == "x" * 300_000
    with pytest.raises(UnreadableError, match="more than"):
        described(with_elements(element(0x00081030, b"UT", b"x" * (VALUES_MAX_CHARACTERS + 2))))


def test_an_id_without_an_issuer_counts_within_the_default_and_one_with_within_its_own() -> None:
    bare, issued = object_with(PatientID="1234"), object_with(PatientID="1234", IssuerOfPatientID="HOSPITAL A ")
    assert described(bare, default_issuer="HOSPITAL A").patient_key == described(issued).patient_key
    assert described(issued, default_issuer="HOSPITAL B").patient_key == described(issued).patient_key
    assert len({described(bare, default_issuer=one).patient_key for one in ("", "HOSPITAL A", "HOSPITAL B")}) == 3
    assert [described(bare, default_issuer=one).effective_issuer for one in ("", "HOSPITAL B")] == [None, "HOSPITAL B"]
    absent = described(object_with(), default_issuer="HOSPITAL B")
    assert (absent.has_patient_id, absent.effective_issuer, absent.patient_key) == (
        False,
        None,
        described(object_with()).patient_key,
    )


def test_ids_that_differ_in_case_or_accents_only_are_of_two_patients_whatever_bytes_wrote_them() -> None:
    written = {
        text: [
            described(object_with(SpecificCharacterSet=charset, PatientID=text)).patient_key
            for charset in ("ISO_IR 100", "ISO_IR 192")
        ]
        for text in ("äb1", "ÄB1", "ab1", "AB1")
    }
    assert all(one == other for one, other in written.values())
    assert len({key for keys in written.values() for key in keys}) == 4


def test_an_ae_titles_issuer_goes_before_its_edges() -> None:
    issuers = parse_issuers('{"clinic": "CLINIC", "clinic/CT_1": "GUESTS"}')
    assert default_issuer(issuers, "clinic", " CT_1 ") == "GUESTS"
    assert default_issuer(issuers, "clinic", "CT_2") == "CLINIC"
    assert default_issuer(issuers, "clinic", None) == "CLINIC"
    assert default_issuer(issuers, "other", "CT_1") == ""


@pytest.mark.parametrize("text", ["", "[]", '{"clinic": 1}', "clinic=CLINIC"])
def test_default_issuers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ContractError, match="DEFAULT_ISSUERS"):
        parse_issuers(text)
