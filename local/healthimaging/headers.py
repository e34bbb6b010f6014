"""What an import takes from one DICOM object, and why it refuses one.

Text is read from the raw values, so that a value which breaks the rules of its VR is seen as it is. Refusals and
warnings name attributes, never values. Longest values at import: AWS HealthImaging Developer Guide, "DICOM element
constraints"; longest values by the standard: PS3.5 6.2.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial
from pydicom.valuerep import TEXT_VR_DELIMS

from contract.uids import is_uid, uid_from_wire

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

# An image set is normalized: it has one value of each of these. Where two objects differ, they cannot share one.
PATIENT_KEYWORDS = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY_KEYWORDS = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription")
SERIES_KEYWORDS = ("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "Laterality")
INSTANCE_KEYWORDS = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames")

_REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_INTEGERS = ("Rows", "Columns")  # VR US
_IMPORT_MAX_CHARACTERS: Mapping[str, int] = {
    **dict.fromkeys(("PatientName", "PatientID", "StudyID", "StudyDescription", "AccessionNumber", *_REQUIRED_UIDS), 256),
    "PatientBirthDate": 18,
    "StudyDate": 18,
    "StudyTime": 28,
    "PatientSex": 16,
}
_STANDARD_MAX_CHARACTERS: Mapping[str, int] = {
    **dict.fromkeys(("PatientID", "StudyDescription", "SeriesDescription"), 64),
    **dict.fromkeys(("AccessionNumber", "StudyID", "PatientSex", "Modality", "BodyPartExamined", "Laterality"), 16),
}

_KEYWORDS = (*PATIENT_KEYWORDS, *STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS)
_TAGS: Mapping[str, int] = {keyword: tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None}
_CHARACTER_SET = 0x00080005
_LAST_TAG = max(_TAGS.values())

_SUPPORTED_TRANSFER_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        *("", ".1", ".1.99", ".2", ".5"),
        *(f".4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, *range(100, 109), 110, 111, 112, 201, 202, 203)),
    )
)


class FileRefusedError(Exception):
    """The object is not imported, by its own fault. The text is the service's message."""


@dataclass(frozen=True)
class FileWarning:
    """A fault that does not keep the object from being imported, as a line of warning.ndjson tells it."""

    reason_code: int
    type: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Header:
    """One object that can be imported. `patient`, `study` and `series` hold the normalized attributes that are present."""

    key: str
    transfer_syntax_uid: str
    patient: Mapping[str, str]
    study: Mapping[str, str]
    series: Mapping[str, str]
    instance: Mapping[str, str]
    warnings: tuple[FileWarning, ...]


def read_header(key: str, beginning: bytes, *, whole: bool) -> Header | None:
    """Read the header of the object at `key` from its first bytes, or None when more of it is needed.

    `whole` says that there is no more. Raises FileRefusedError.
    """
    passed_last_tag = False

    def beyond(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal passed_last_tag
        passed_last_tag = int.__gt__(tag, _LAST_TAG)  # BaseTag's own comparison costs a third of the parse
        return passed_last_tag

    if beginning[128:132] != b"DICM":
        raise FileRefusedError("DICOM attributes does not exist")
    try:
        dataset = read_partial(io.BytesIO(beginning), stop_when=beyond, specific_tags=list(_TAGS.values()))
        transfer_syntax_uid = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    except Exception as error:  # the parser may raise anything on bytes that are not DICOM, or are cut off
        if not whole:
            return None
        raise FileRefusedError("DICOM attributes does not exist") from error
    if not passed_last_tag and not whole:
        return None
    if not transfer_syntax_uid:
        raise FileRefusedError("DICOM attribute TransferSyntaxUID does not exist")
    return _header(key, transfer_syntax_uid, _values(dataset))


def _header(key: str, transfer_syntax_uid: str, values: Mapping[str, str]) -> Header:
    for keyword in _REQUIRED_UIDS:
        if not values.get(keyword):
            raise FileRefusedError(f"DICOM attribute {keyword} does not exist")
    for keyword, most in _IMPORT_MAX_CHARACTERS.items():
        if len(values.get(keyword, "")) > most:
            raise FileRefusedError(f"DICOM attribute {keyword} is longer than {most} characters")

    def level(keywords: tuple[str, ...]) -> Mapping[str, str]:
        return {keyword: values[keyword] for keyword in keywords if values.get(keyword)}

    return Header(
        key=key,
        transfer_syntax_uid=transfer_syntax_uid,
        patient=level(PATIENT_KEYWORDS),
        study=level(STUDY_KEYWORDS),
        series=level(SERIES_KEYWORDS),
        instance=level(INSTANCE_KEYWORDS),
        warnings=tuple(_warnings(transfer_syntax_uid, values)),
    )


def _warnings(transfer_syntax_uid: str, values: Mapping[str, str]) -> list[FileWarning]:
    found = []
    if transfer_syntax_uid not in _SUPPORTED_TRANSFER_SYNTAXES:
        found.append(FileWarning(45344, "UnsupportedTransferSyntax", "The transfer syntax is not supported"))
    found += [
        FileWarning(45569, "InvalidUidFormat", f"DICOM attribute {keyword} is not a valid UID")
        for keyword in _REQUIRED_UIDS
        if not is_uid(values[keyword])
    ]
    found += [
        FileWarning(45571, "InvalidDicomValueLength", f"DICOM attribute {keyword} is longer than {most} characters")
        for keyword, most in _STANDARD_MAX_CHARACTERS.items()
        if len(values.get(keyword, "")) > most
    ]
    return found


def _values(dataset: Dataset) -> Mapping[str, str]:
    encodings = _encodings(dataset)
    return {keyword: _text(keyword, dataset, encodings) for keyword, tag in _TAGS.items() if tag in dataset}


def _encodings(dataset: Dataset) -> list[str]:
    if _CHARACTER_SET not in dataset:
        return convert_encodings(None)
    declared = _raw(dataset, _CHARACTER_SET).decode("ascii", "replace").strip(" \0").split("\\")
    try:
        return convert_encodings(declared)
    except (LookupError, Warning):  # a character set that nobody knows: its text is read byte by byte
        return ["latin-1"]


def _text(keyword: str, dataset: Dataset, encodings: list[str]) -> str:
    raw = _raw(dataset, _TAGS[keyword])
    if keyword in _INTEGERS:
        _, little_endian = dataset.original_encoding
        return str(int.from_bytes(raw[:2], "little" if little_endian else "big")) if len(raw) >= 2 else ""
    if keyword.endswith("UID"):
        return uid_from_wire(raw)
    return decode_bytes(raw, encodings, TEXT_VR_DELIMS).strip(" \0")


def _raw(dataset: Dataset, tag: int) -> bytes:
    element: DataElement | RawDataElement = dataset.get_item(tag, keep_deferred=True)
    if isinstance(element, RawDataElement):
        return element.value or b""
    return str(element.value or "").encode()
