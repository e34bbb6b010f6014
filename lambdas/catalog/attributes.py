"""Which DICOM attributes the catalog has columns for: by level, by keyword (PS3.6 6), and how a value becomes a column."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import cache


class Kind(enum.Enum):
    """How a value becomes a column."""

    TEXT = "text"
    """Decoded text; the values of one that should be single and is not stay joined by a backslash, as they came."""
    MULTIPLE = "multiple"
    """A JSON list of texts."""
    DATE = "date"
    """DATE, NULL when it is no date."""
    CODES = "codes"
    """A code sequence (PS3.3 8.8), as a JSON list of [code value, coding scheme, meaning]."""
    INTEGER = "integer"
    """INT, NULL when it is no such number."""
    DECIMAL = "decimal"
    """DOUBLE, NULL when it is no such number."""


class Level(enum.StrEnum):
    """The levels of the catalog (PS3.3 A.1.2), which are its tables' names."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


KEYS: Mapping[Level, str] = {
    Level.PATIENT: "patient_key",
    Level.STUDY: "study_instance_uid",
    Level.SERIES: "series_instance_uid",
    Level.INSTANCE: "sop_instance_uid",
}
"""The column by which a level's rows are told apart."""

ATTRIBUTES: Mapping[Level, Mapping[str, Kind]] = {
    Level.PATIENT: {
        "PatientID": Kind.TEXT,
        "IssuerOfPatientID": Kind.TEXT,
        "PatientName": Kind.TEXT,
        "PatientBirthDate": Kind.DATE,
        "PatientSex": Kind.TEXT,
        "PatientBirthTime": Kind.TEXT,
        "EthnicGroup": Kind.TEXT,
        "PatientComments": Kind.TEXT,
    },
    Level.STUDY: {
        "StudyDate": Kind.DATE,
        "StudyTime": Kind.TEXT,
        "AccessionNumber": Kind.TEXT,
        "StudyID": Kind.TEXT,
        "StudyDescription": Kind.TEXT,
        "ReferringPhysicianName": Kind.TEXT,
        "PatientAge": Kind.TEXT,
        "PatientSize": Kind.DECIMAL,
        "PatientWeight": Kind.DECIMAL,
        "ConsultingPhysicianName": Kind.MULTIPLE,
        "NameOfPhysiciansReadingStudy": Kind.MULTIPLE,
        "ProcedureCodeSequence": Kind.CODES,
    },
    Level.SERIES: {
        "Modality": Kind.TEXT,
        "SeriesNumber": Kind.INTEGER,
        "SeriesDate": Kind.DATE,
        "SeriesTime": Kind.TEXT,
        "SeriesDescription": Kind.TEXT,
        "SeriesDescriptionCodeSequence": Kind.CODES,
        "ProtocolName": Kind.TEXT,
        "BodyPartExamined": Kind.TEXT,
        "Laterality": Kind.TEXT,
        "PatientPosition": Kind.TEXT,
        "AnatomicalOrientationType": Kind.TEXT,
        "FrameOfReferenceUID": Kind.TEXT,
        "Manufacturer": Kind.TEXT,
        "ManufacturerModelName": Kind.TEXT,
        "StationName": Kind.TEXT,
        "InstitutionName": Kind.TEXT,
        "InstitutionalDepartmentName": Kind.TEXT,
        "PerformingPhysicianName": Kind.MULTIPLE,
        "OperatorsName": Kind.MULTIPLE,
    },
    Level.INSTANCE: {
        "SpecificCharacterSet": Kind.MULTIPLE,
        "InstanceNumber": Kind.INTEGER,
        "InstanceCreationDate": Kind.DATE,
        "InstanceCreationTime": Kind.TEXT,
        "InstanceCoercionDateTime": Kind.TEXT,
        "AcquisitionNumber": Kind.INTEGER,
        "AcquisitionDate": Kind.DATE,
        "AcquisitionTime": Kind.TEXT,
        "ContentDate": Kind.DATE,
        "ContentTime": Kind.TEXT,
        "ImageType": Kind.MULTIPLE,
        "ImagePositionPatient": Kind.MULTIPLE,
        "ImageOrientationPatient": Kind.MULTIPLE,
        "PatientOrientation": Kind.MULTIPLE,
        "AnatomicRegionSequence": Kind.CODES,
        "ImageComments": Kind.TEXT,
        "BurnedInAnnotation": Kind.TEXT,
        "RecognizableVisualFeatures": Kind.TEXT,
        "SliceThickness": Kind.DECIMAL,
        "PixelSpacing": Kind.MULTIPLE,
        "Rows": Kind.INTEGER,
        "Columns": Kind.INTEGER,
        "NumberOfFrames": Kind.INTEGER,
        "SamplesPerPixel": Kind.INTEGER,
        "PhotometricInterpretation": Kind.TEXT,
        "BitsAllocated": Kind.INTEGER,
        "BitsStored": Kind.INTEGER,
        "HighBit": Kind.INTEGER,
        "PixelRepresentation": Kind.INTEGER,
        "RescaleIntercept": Kind.DECIMAL,
        "RescaleSlope": Kind.DECIMAL,
    },
}

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@cache
def column(keyword: str) -> str:
    """A keyword in snake_case: `SOPClassUID` is `sop_class_uid`."""
    return _WORD_START.sub("_", keyword).lower()


def columns(level: Level) -> tuple[str, ...]:
    """The attribute columns of a level's table, in order; `raw_values` is not among them."""
    return tuple(column(keyword) for keyword in ATTRIBUTES[level])
