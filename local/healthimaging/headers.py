"""What an import takes from one DICOM object, and why it refuses one.

Text is read from the raw values, so that a value which breaks the rules of its VR is seen as it is. Refusals and
warnings name attributes, never values. Longest values at import: AWS HealthImaging Developer Guide, "DICOM element
constraints"; longest values by the standard: PS3.5 6.2.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian, HTJ2KLosslessRPCL
from pydicom.valuerep import TEXT_VR_DELIMS

from contract.uids import is_uid, uid_from_wire
from local.healthimaging.causes import FileRefusedError, FileWarning
from local.healthimaging.pixels import PixelData

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

# An image set is normalized: it has one value of each of these. Where two objects differ, they cannot share one.
PATIENT_KEYWORDS = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY_KEYWORDS = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription")
SERIES_KEYWORDS = ("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "Laterality")
INSTANCE_KEYWORDS = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")
PIXEL_KEYWORDS = ("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated")

_REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_INTEGERS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")  # VR US
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

_KEYWORDS = (*PATIENT_KEYWORDS, *STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS, *PIXEL_KEYWORDS)
_TAGS: Mapping[str, int] = {keyword: tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None}
_CHARACTER_SET = 0x00080005
_LAST_TAG = max(_TAGS.values())
_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF

_SUPPORTED_TRANSFER_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2{suffix}"
    for suffix in (
        *("", ".1", ".1.99", ".2", ".5"),
        *(f".4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, *range(100, 109), 110, 111, 112, 201, 202, 203)),
    )
)


# What is stored as it came; anything else is stored as HTJ2K, lossless (Developer Guide, "Supported transfer syntaxes").
_KEPT_TRANSFER_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 91, *range(100, 109), 112, 203))


@dataclass(frozen=True, kw_only=True)
class Header:
    """One object that can be imported. `patient`, `study` and `series` hold the normalized attributes that are present."""

    key: str
    transfer_syntax_uid: str
    stored_transfer_syntax_uid: str
    patient: Mapping[str, str]
    study: Mapping[str, str]
    series: Mapping[str, str]
    instance: Mapping[str, str]
    warnings: tuple[FileWarning, ...]
    pixel_data: PixelData | None


def read_header(key: str, beginning: bytes, *, whole: bool) -> Header | None:
    """Read the header of the object at `key` from its first bytes, or None when more of it is needed.

    `whole` says that there is no more. Raises FileRefusedError.
    """
    if beginning[128:132] != b"DICM":
        raise FileRefusedError("DICOM attributes does not exist")
    file = io.BytesIO(beginning)
    header_end = _Stop(_LAST_TAG + 1)
    try:
        dataset = read_partial(file, stop_when=header_end, specific_tags=list(_TAGS.values()))
        transfer_syntax_uid = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    except Exception as error:  # the parser may raise anything on bytes that are not DICOM, or are cut off
        if not whole:
            return None
        raise FileRefusedError("DICOM attributes does not exist") from error
    if not header_end.tag and not whole:
        return None
    if not transfer_syntax_uid:
        raise FileRefusedError("DICOM attribute TransferSyntaxUID does not exist")
    pixel_data = None
    if _TAGS["Rows"] in dataset and transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        found, pixel_data = _find_pixel_data(file, dataset)
        if not found and not whole:
            return None
    return _header(key, transfer_syntax_uid, _values(dataset), pixel_data)


def _find_pixel_data(file: io.BytesIO, dataset: Dataset) -> tuple[bool, PixelData | None]:
    """(whether its place was reached, where it begins). The file stands at the element after the header's last."""
    place = _Stop(_PIXEL_DATA)
    implicit_vr, little_endian = dataset.original_encoding
    with contextlib.suppress(Exception):  # as above; what lies between the header and the pixel data is nobody's concern
        read_dataset(file, bool(implicit_vr), bool(little_endian), stop_when=place, specific_tags=[_PIXEL_DATA])
    return bool(place.tag), place.pixel_data(file.tell())


class _Stop:
    """Ends pydicom's parsing before the first element from `tag` on, and remembers which that was."""

    def __init__(self, first_tag: int) -> None:
        self._first_tag = first_tag
        self.tag = 0
        self._vr: str | None = None
        self._length = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        if int.__lt__(tag, self._first_tag):  # BaseTag's own comparison costs a third of the parse
            return False
        self.tag, self._vr, self._length = int(tag), vr, length
        return True

    def pixel_data(self, offset: int) -> PixelData | None:
        """Of the element that stands at `offset`, where it is the pixel data."""
        if self.tag != _PIXEL_DATA:
            return None
        header_bytes = 12 if self._vr in ("OB", "OW", "UN") else 8  # PS3.5 7.1.2 and 7.1.3
        return PixelData(offset + header_bytes, None if self._length == _UNDEFINED_LENGTH else self._length)


def _header(key: str, transfer_syntax_uid: str, values: Mapping[str, str], pixel_data: PixelData | None) -> Header:
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
        stored_transfer_syntax_uid=transfer_syntax_uid if transfer_syntax_uid in _KEPT_TRANSFER_SYNTAXES else HTJ2KLosslessRPCL,
        patient=level(PATIENT_KEYWORDS),
        study=level(STUDY_KEYWORDS),
        series=level(SERIES_KEYWORDS),
        instance=level((*INSTANCE_KEYWORDS, *PIXEL_KEYWORDS)),
        warnings=tuple(_warnings(transfer_syntax_uid, values)),
        pixel_data=pixel_data,
    )


def _warnings(transfer_syntax_uid: str, values: Mapping[str, str]) -> list[FileWarning]:
    found = []
    if transfer_syntax_uid not in _SUPPORTED_TRANSFER_SYNTAXES:
        found.append(FileWarning("UnsupportedTransferSyntax", "The transfer syntax is not supported"))
    found += [
        FileWarning("InvalidUidFormat", f"DICOM attribute {keyword} is not a valid UID")
        for keyword in _REQUIRED_UIDS
        if not is_uid(values[keyword])
    ]
    found += [
        FileWarning("InvalidDicomValueLength", f"DICOM attribute {keyword} is longer than {most} characters")
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
