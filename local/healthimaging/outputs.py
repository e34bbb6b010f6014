"""What a job leaves behind: its outcome, kept in the store, and the output files made of it, in S3.

Source: AWS HealthImaging Developer Guide, "Understanding import jobs" (the output manifest and its folders).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from local.healthimaging.placement import ImageSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from local.healthimaging.causes import FileWarning

MANIFEST_NAME = "job-output-manifest.json"
SUCCESS_NAME, FAILURE_NAME, WARNING_NAME = "SUCCESS/success.ndjson", "FAILURE/failure.ndjson", "WARNING/warning.ndjson"
OUTPUT_NAMES = (MANIFEST_NAME, SUCCESS_NAME, FAILURE_NAME, WARNING_NAME)


@dataclass(frozen=True)
class FileFailure:
    """One object that was not imported."""

    key: str
    exception_type: str
    message: str

    @property
    def by_the_service(self) -> bool:
        return self.exception_type == "InternalServerException"


@dataclass(frozen=True)
class Outcome:
    """What the scan of one job found: every key below its prefix is in an image set or a failure."""

    image_sets: Sequence[ImageSet]
    failures: Sequence[FileFailure]
    warnings: Mapping[str, Sequence[Mapping[str, Any]]]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        document = json.loads(text)
        return cls(
            image_sets=[ImageSet(**{**item, "keys": tuple(item["keys"])}) for item in document["image_sets"]],
            failures=[FileFailure(**item) for item in document["failures"]],
            warnings=document["warnings"],
        )


def warning_line(warning: FileWarning) -> Mapping[str, Any]:
    return {"warning_reason_code": warning.reason_code, "type": warning.type, "message": warning.message}


def job_folder_uri(output_uri: str, datastore_id: str, job_id: str) -> str:
    """The folder of one job's outputs, below the URI that the caller gave, with a trailing slash."""
    return f"{output_uri.rstrip('/')}/{datastore_id}-DicomImport-{job_id}/"


def output_files(
    *, job_id: str, datastore_id: str, input_uri: str, folder_uri: str, outcome: Outcome, warned_also_in_success: bool
) -> Iterator[tuple[str, bytes]]:
    """The files (name below the folder, content), the manifest last. A category without lines has no file."""
    categories = {
        SUCCESS_NAME: _success_lines(outcome, warned_also_in_success=warned_also_in_success),
        FAILURE_NAME: _failure_lines(outcome),
        WARNING_NAME: _warning_lines(outcome),
    }
    for name, lines in categories.items():
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if content:
            yield name, content
    imported = sum(len(image_set.keys) for image_set in outcome.image_sets)
    by_the_service = sum(failure.by_the_service for failure in outcome.failures)
    summary = {
        "jobId": job_id,
        "datastoreId": datastore_id,
        "inputS3Uri": input_uri,
        "outputS3Uri": folder_uri,
        "successOutputS3Uri": f"{folder_uri}SUCCESS/",
        "failureOutputS3Uri": f"{folder_uri}FAILURE/",
        "warningsOutputS3Uri": f"{folder_uri}WARNING/",
        "numberOfScannedFiles": imported + len(outcome.failures),
        "numberOfImportedFiles": imported,
        "numberOfFilesWithCustomerError": len(outcome.failures) - by_the_service,
        "numberOfFilesWithServerError": by_the_service,
        "numberOfGeneratedImageSets": len(outcome.image_sets),
        "imageSetsSummary": [
            {**_response(image_set), "numberOfMatchedSOPInstances": len(image_set.keys)} for image_set in outcome.image_sets
        ],
    }
    yield MANIFEST_NAME, json.dumps({"jobSummary": summary}).encode()


def _response(image_set: ImageSet) -> dict[str, Any]:
    return {"imageSetId": image_set.id, "imageSetVersion": image_set.version, "isPrimary": image_set.is_primary}


def _success_lines(outcome: Outcome, *, warned_also_in_success: bool) -> Iterator[Mapping[str, Any]]:
    for image_set in outcome.image_sets:
        for key in image_set.keys:
            if warned_also_in_success or key not in outcome.warnings:
                yield {"inputFile": key, "importResponse": _response(image_set)}


def _warning_lines(outcome: Outcome) -> Iterator[Mapping[str, Any]]:
    for image_set in outcome.image_sets:
        for key in image_set.keys:
            if key in outcome.warnings:
                yield {"inputFile": key, "importResponse": {**_response(image_set), "warnings": outcome.warnings[key]}}


def _failure_lines(outcome: Outcome) -> Iterator[Mapping[str, Any]]:
    for failure in outcome.failures:
        exception = {"exceptionType": failure.exception_type, "message": failure.message}
        yield {"inputFile": failure.key, "exception": exception}
