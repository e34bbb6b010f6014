"""What the service answers about image sets: their properties, their metadata document, and the search over them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from local.aws import ACCOUNT, REGION
from local.healthimaging.errors import invalid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from local.healthimaging.validation import Body

# The names of the service's search attributes, and where an image set keeps them.
_TAGS: Mapping[str, tuple[str, str]] = {
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
_SEARCHABLE = (
    *("DICOMPatientId", "DICOMAccessionNumber", "DICOMStudyId", "DICOMStudyInstanceUID", "DICOMSeriesInstanceUID"),
    "isPrimary",
)


def arn_of(datastore_id: str, image_set_id: str | None = None) -> str:
    arn = f"arn:aws:medical-imaging:{REGION}:{ACCOUNT}:datastore/{datastore_id}"
    return arn if image_set_id is None else f"{arn}/imageset/{image_set_id}"


def properties(image_set: sqlite3.Row) -> dict[str, Any]:
    """The answer to GetImageSet."""
    return {
        "datastoreId": image_set["datastore_id"],
        "imageSetId": image_set["id"],
        "versionId": str(image_set["version"]),
        "imageSetState": "ACTIVE",
        "imageSetWorkflowStatus": "CREATED" if image_set["version"] == 1 else "UPDATED",
        "createdAt": image_set["created_at"],
        "updatedAt": image_set["updated_at"],
        "imageSetArn": arn_of(image_set["datastore_id"], image_set["id"]),
        "isPrimary": bool(image_set["is_primary"]),
        "storageTier": "FREQUENT_ACCESS",
    }


def summary(image_set: sqlite3.Row) -> dict[str, Any]:
    """One image set in the answer to SearchImageSets."""
    levels = {level: json.loads(image_set[level]) for level in ("patient", "study", "series")}
    tags = {name: levels[level][keyword] for name, (level, keyword) in _TAGS.items() if keyword in levels[level]}
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


def matcher(criteria: Body) -> Callable[[sqlite3.Row], bool]:
    """Whether an image set satisfies every filter of a search. Raises ServiceError ValidationException.

    Only the operator EQUAL is emulated.
    """
    wanted: list[tuple[str, object]] = []
    for condition in criteria.get("filters") or []:
        values = condition.get("values") or []
        if condition.get("operator") != "EQUAL" or len(values) != 1 or len(values[0]) != 1:
            raise invalid("This emulator searches by EQUAL, with one value for each filter.")
        ((name, value),) = values[0].items()
        if name not in _SEARCHABLE:
            raise invalid(f"This emulator searches by {', '.join(_SEARCHABLE)}.")
        wanted.append((name, value))

    def matches(image_set: sqlite3.Row) -> bool:
        return all(_attribute(image_set, name) == value for name, value in wanted)

    return matches


def _attribute(image_set: sqlite3.Row, name: str) -> object:
    if name == "isPrimary":
        return bool(image_set["is_primary"])
    level, keyword = _TAGS[name]
    return json.loads(image_set[level]).get(keyword)
