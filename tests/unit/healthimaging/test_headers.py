"""What an import reads of one object, and what it refuses or warns of."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from local.healthimaging.causes import FileRefusedError
from local.healthimaging.headers import Header, read_header
from tests.support.healthimaging import part10


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(str(path)).read_bytes()


def header(content: bytes) -> Header:
    read = read_header("key", content, whole=True)
    assert read is not None
    return read


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
        "693_J2KI.dcm",
        "JPEG2000.dcm",
    ],
)
def test_a_header_cut_anywhere_is_read_as_the_whole_object_or_asked_for_again(name: str) -> None:
    content = bundled(name)
    whole = header(content)
    sizes = [*range(100, 6_000, 97), *range(6_000, len(content), max(1, len(content) // 40))]
    answers = [read_header("key", content[:size], whole=False) for size in sizes if 132 <= size < len(content)]
    assert all(answer in (None, whole) for answer in answers)
    assert None in answers


def test_integers_are_read_in_the_objects_own_byte_order() -> None:
    little, big = header(bundled("MR_small.dcm")), header(bundled("MR_small_bigendian.dcm"))
    assert little.instance["Rows"] == big.instance["Rows"] == "64"


def test_text_is_decoded_by_the_objects_own_character_set() -> None:
    assert header(part10(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg")).patient["PatientName"] == "Müller^Jörg"
    content = part10(SpecificCharacterSet="ISO_IR 126", PatientName="\N{GREEK CAPITAL LETTER DELTA}^A")
    assert header(content).patient["PatientName"] == "\N{GREEK CAPITAL LETTER DELTA}^A"


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_text_in_an_unknown_character_set_is_no_reason_to_refuse() -> None:
    content = part10(PatientName="Doe").replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x05\x00CS\x04\x00NONE\x08\x00\x16\x00UI", 1)
    assert header(content).patient["PatientName"] == "Doe"


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_a_uid_is_refused_by_the_attributes_name(keyword: str) -> None:
    with pytest.raises(FileRefusedError, match=f"^DICOM attribute {keyword} does not exist$"):
        header(part10(without=(keyword,)))
    with pytest.raises(FileRefusedError, match=f"^DICOM attribute {keyword} does not exist$"):
        header(part10(values={keyword: ""}))


@pytest.mark.parametrize(
    ("keyword", "most"),
    [
        *((keyword, 256) for keyword in ("PatientName", "PatientID", "StudyID", "StudyDescription", "AccessionNumber")),
        *(("StudyInstanceUID", 256), ("StudyDate", 18), ("PatientBirthDate", 18), ("StudyTime", 28), ("PatientSex", 16)),
    ],
)
def test_a_value_over_the_services_limit_is_refused_without_being_quoted(keyword: str, most: int) -> None:
    header(part10(values={keyword: "1" * most}))
    with pytest.raises(FileRefusedError) as raised:
        header(part10(values={keyword: "1" * (most + 1)}))
    assert str(raised.value) == f"DICOM attribute {keyword} is longer than {most} characters"


def test_padding_is_not_part_of_a_value() -> None:
    read = header(part10(SOPInstanceUID="1.2.345", PatientID="P1 "))
    assert (read.instance["SOPInstanceUID"], read.patient["PatientID"]) == ("1.2.345", "P1")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (part10(), None),
        (part10(transfer_syntax="1.2.3.4.5"), 45344),
        (part10(SOPInstanceUID="1.2.not-a-uid"), 45569),
        (part10(PatientID="x" * 65), 45571),
    ],
    ids=["clean", "transfer syntax", "uid", "length"],
)
def test_faults_that_the_service_lets_pass_are_warned_of_by_code(content: bytes, code: int | None) -> None:
    assert [warning.reason_code for warning in header(content).warnings] == ([] if code is None else [code])


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(damage=st.dictionaries(st.integers(132, 5_000), st.integers(0, 255), max_size=40))
def test_a_damaged_object_is_read_or_refused_and_never_anything_else(damage: dict[int, int]) -> None:
    content = bytearray(bundled("CT_small.dcm")[:6_000])
    for offset, byte in damage.items():
        content[offset] = byte
    with contextlib.suppress(FileRefusedError):
        header(bytes(content))
