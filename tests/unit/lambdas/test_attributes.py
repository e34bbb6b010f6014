"""The catalog's columns against DICOM's dictionary (PS3.6), as pydicom has it."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_is_retired, dictionary_VM, dictionary_VR, tag_for_keyword

from lambdas.catalog.attributes import ATTRIBUTES, Kind, Level
from lambdas.logic.header import LAST_GROUP

KINDS = [(keyword, kind) for level in ATTRIBUTES.values() for keyword, kind in level.items()]
_OF_VR = {
    "DA": {Kind.DATE},
    "SQ": {Kind.CODES},
    "IS": {Kind.INTEGER},
    "US": {Kind.INTEGER},
    "DS": {Kind.DECIMAL, Kind.MULTIPLE},
}


_REFERENCE = (
    *("InstanceCreationDate", "ImageType", "InstanceCreationTime", "SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
    *("ImageOrientationPatient", "ImagePositionPatient", "AcquisitionTime", "AcquisitionDate", "ContentDate"),
    *("AnatomicRegionSequence", "AcquisitionNumber", "PatientOrientation", "ImageComments", "BurnedInAnnotation"),
    *("RecognizableVisualFeatures", "PresentationLUTShape", "IconImageSequence", "SamplesPerPixel"),
    *("PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "HighBit", "PixelRepresentation", "RescaleIntercept"),
    *("RescaleSlope", "SeriesInstanceUID", "SeriesTime", "SeriesDate", "SeriesDescription", "SeriesDescriptionCodeSequence"),
    *("SeriesNumber", "InstanceCoercionDateTime", "Modality", "PerformingPhysicianName"),
    *("PerformingPhysicianIdentificationSequence", "AnatomicalOrientationType", "BodyPartExamined", "ProtocolName"),
    *("PatientPosition", "StudyInstanceUID", "ModalitiesInStudy", "AccessionNumber", "NameOfPhysiciansReadingStudy"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "ConsultingPhysicianName", "StudyDescription"),
    *("SpecificCharacterSet", "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence", "RequestingService"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
)
"""What aws-healthimaging-samples' index has. Its BurnedInAnnotation is filed under a tag that DICOM does not have."""
_KEYS = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"}
_WITHOUT_COLUMN = {
    "ModalitiesInStudy": "study_list counts them of the series",
    "RequestingService": "group 0032, after the private blobs of group 0029",
    "PresentationLUTShape": "group 2050, after the content of a report",
    "IconImageSequence": "an image",
    "PerformingPhysicianIdentificationSequence": "sequences of sequences, which no text shows",
    "IssuerOfAccessionNumberSequence": "a sequence of ids without codes",
}


def test_the_reference_has_no_attribute_that_is_left_out_without_a_reason() -> None:
    assert len(_REFERENCE) == 60
    assert all(tag_for_keyword(keyword) for keyword in _REFERENCE)
    assert set(_REFERENCE) - dict(KINDS).keys() - _KEYS == _WITHOUT_COLUMN.keys()


def test_the_columns_are_some_sixty_attributes_each_at_one_level() -> None:
    assert 60 <= len(KINDS) == len(dict(KINDS)) < 80
    assert list(ATTRIBUTES) == list(Level)


@pytest.mark.parametrize(("keyword", "kind"), KINDS)
def test_a_column_is_of_the_kind_that_the_dictionary_asks_for(keyword: str, kind: Kind) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    assert tag >> 16 <= LAST_GROUP, "a header is not read so far"
    assert not dictionary_is_retired(tag)
    assert kind in _OF_VR.get(dictionary_VR(tag), {Kind.TEXT, Kind.MULTIPLE})
    if kind is not Kind.CODES:
        assert (kind is Kind.MULTIPLE) == (dictionary_VM(tag) != "1")
