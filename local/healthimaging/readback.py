"""What the service tells of image sets: their properties and their metadata document."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from local.aws import ACCOUNT, REGION

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

# The names of the service's search attributes, and where an image set keeps them.
TAGS: Mapping[str, tuple[str, str]] = {
    "DICOMPatientId": ("patient", "PatientID"),
    "DICOMPatientName": ("patient", "PatientName"),
    "DICOMPatientBirthDate": ("patient", "PatientBirthDate"),
    "DICOMPatientSex": ("patient", "PatientSex"),
    "DICOMStudyInstanceUID": ("study", "StudyInstanceUID"),
    "DICOMStudyId": ("study", "StudyID"),
    "DICOMStudyDescription": ("study", "StudyDescription"),
    "DICOMStudyDate": ("study", "StudyDate"),
    "DICOMStudyTime": ("study", "StudyTime"),
    "DICOMAccessionNumber": ("study", "AccessionNumber"),
    "DICOMSeriesInstanceUID": ("series", "SeriesInstanceUID"),
    "DICOMSeriesModality": ("series", "Modality"),
    "DICOMSeriesBodyPart": ("series", "BodyPartExamined"),
}


def arn_of(datastore_id: str, image_set_id: str | None = None) -> str:
    arn = f"arn:aws:medical-imaging:{REGION}:{ACCOUNT}:datastore/{datastore_id}"
    return arn if image_set_id is None else f"{arn}/imageset/{image_set_id}"


def properties(image_set: sqlite3.Row, version: sqlite3.Row) -> dict[str, Any]:
    """One version, as GetImageSet and ListImageSetVersions have it in common."""
    return {
        "imageSetId": image_set["id"],
        "versionId": str(version["version"]),
        "imageSetState": "ACTIVE",
        "createdAt": image_set["created_at"],
        "updatedAt": version["created_at"],
        "isPrimary": bool(image_set["is_primary"]),
    }


def workflow_status(version: int) -> str:
    return "CREATED" if version == 1 else "UPDATED"


def summary(image_set: sqlite3.Row) -> dict[str, Any]:
    """One image set in the answer to SearchImageSets."""
    levels = {level: json.loads(image_set[level]) for level in ("patient", "study", "series")}
    tags = {name: levels[level][keyword] for name, (level, keyword) in TAGS.items() if keyword in levels[level]}
    number = levels["series"].get("SeriesNumber", "")
    if number.lstrip("+-").isdecimal():
        tags["DICOMSeriesNumber"] = int(number)
    return {
        "imageSetId": image_set["id"],
        "version": image_set["version"],
        "createdAt": image_set["created_at"],
        "updatedAt": image_set["updated_at"],
        "storageTier": "FREQUENT_ACCESS",
        "DICOMTags": tags,
        "isPrimary": bool(image_set["is_primary"]),
    }


def metadata_blob(image_set: sqlite3.Row, instances: Sequence[sqlite3.Row]) -> bytes:
    """The answer to GetImageSetMetadata: the metadata document in the service's schema 1.1, gzip-compressed."""
    series = json.loads(image_set["series"])
    documents = {
        row["sop_instance_uid"]: {
            "DICOM": json.loads(row["attributes"]),
            "DICOMVRs": {},
            "ImageFrames": [],
            "StoredTransferSyntaxUID": row["transfer_syntax_uid"],
        }
        for row in instances
    }
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": image_set["datastore_id"],
        "ImageSetID": image_set["id"],
        "Patient": {"DICOM": json.loads(image_set["patient"])},
        "Study": {
            "DICOM": json.loads(image_set["study"]),
            "Series": {series["SeriesInstanceUID"]: {"DICOM": series, "Instances": documents}},
        },
    }
    return gzip.compress(json.dumps(document).encode())
