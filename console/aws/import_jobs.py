"""HealthImaging's own list of import jobs, which it keeps for 90 days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from console.aws.told import told

if TYPE_CHECKING:
    from mypy_boto3_medical_imaging import HealthImagingClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An import job. `message` is why it FAILED, else empty."""

    id: str
    status: str
    submitted_at: datetime
    message: str


class ImportJobs:
    """The import jobs of one data store."""

    def __init__(self, client: HealthImagingClient, datastore_id: str) -> None:
        self._client = client
        self._datastore_id = datastore_id

    def all(self) -> Iterator[Job]:
        with told("medical-imaging:ListDICOMImportJobs"):
            pages = self._client.get_paginator("list_dicom_import_jobs").paginate(datastoreId=self._datastore_id)
            for page in pages:
                for one in page["jobSummaries"]:
                    yield Job(
                        id=one["jobId"],
                        status=one["jobStatus"],
                        submitted_at=one["submittedAt"],
                        message=one.get("message", ""),
                    )

    def s3_uris(self, job_id: str) -> tuple[str, str]:
        """The prefix that a job imports, and the folder of its outputs."""
        with told("medical-imaging:GetDICOMImportJob"):
            answer = self._client.get_dicom_import_job(datastoreId=self._datastore_id, jobId=job_id)
        return answer["jobProperties"]["inputS3Uri"], answer["jobProperties"]["outputS3Uri"]
