"""Drives the HealthImaging emulator in tests: small DICOM objects, an import from end to end, its outputs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from local.aws import Aws
from local.healthimaging import launch
from tests.support.shapes import check_answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_medical_imaging import HealthImagingClient
    from mypy_boto3_medical_imaging.type_defs import DICOMImportJobPropertiesTypeDef
    from mypy_boto3_s3 import S3Client

    from local.healthimaging.launch import HealthImaging

ROLE = "arn:aws:iam::000000000000:role/import"
_JOB_ENDS_WITHIN_SECONDS = 20


def part10(
    *,
    transfer_syntax: str | None = ExplicitVRLittleEndian,
    without: tuple[str, ...] = (),
    values: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> bytes:
    """A small DICOM object in the Part 10 format, in explicit VR little endian whatever `transfer_syntax` calls it.

    By default it is a new instance of one consistent series. `attributes` and `values` are set by DICOM keyword, unchecked.
    """
    defaults = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"2.25.{uuid4().int}",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyDate": "20261124",
        "StudyID": "S1",
        "AccessionNumber": "A1",
        "SeriesNumber": 1,
        "Modality": "CT",
        "Rows": 2,
    }
    dataset = Dataset()
    for keyword, value in (defaults | attributes | dict(values or {})).items():
        if keyword not in without:
            tag = tag_for_keyword(keyword)
            assert tag is not None
            dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE))
    meta = FileMetaDataset()
    meta.ImplementationVersionName = "TEST"
    if transfer_syntax is not None:
        meta.TransferSyntaxUID = UID(transfer_syntax)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_file_meta_info(file, meta, enforce_standard=False)
    write_dataset(file, dataset)
    return b"\0" * 128 + b"DICM" + file.getvalue()


@dataclass
class Outputs:
    """The outputs of one job, by file."""

    summary: dict[str, Any]
    success: list[dict[str, Any]] | None
    failure: list[dict[str, Any]] | None
    warning: list[dict[str, Any]] | None


@cache
def client_of(endpoint_url: str) -> HealthImagingClient:
    """A client that checks every answer against the service's model; making one takes longer than most tests."""
    client = Aws(endpoint_url).medical_imaging
    check_answers(client)
    return client


class Imports:
    """One fresh data store and one bucket, with what a test does to them."""

    def __init__(self, emulator: HealthImaging, s3: S3Client, bucket: str) -> None:
        self.s3 = s3
        self.bucket = bucket
        self.connect(emulator)
        self.datastore_id = self.client.create_datastore(clientToken=uuid4().hex)["datastoreId"]

    def connect(self, emulator: HealthImaging) -> None:
        """Go on with this emulator."""
        self.emulator = emulator
        self.client = client_of(emulator.endpoint_url)

    def put(self, objects: dict[str, bytes], prefix: str = "in/") -> None:
        for name, content in objects.items():
            self.s3.put_object(Bucket=self.bucket, Key=prefix + name, Body=content)

    def start(self, prefix: str = "in/", *, token: str | None = None, name: str = "job") -> str:
        return self.client.start_dicom_import_job(
            datastoreId=self.datastore_id,
            dataAccessRoleArn=ROLE,
            clientToken=token or uuid4().hex,
            jobName=name,
            inputS3Uri=f"s3://{self.bucket}/{prefix}",
            outputS3Uri=f"s3://{self.bucket}/out/",
        )["jobId"]

    def job(self, job_id: str) -> DICOMImportJobPropertiesTypeDef:
        return self.client.get_dicom_import_job(datastoreId=self.datastore_id, jobId=job_id)["jobProperties"]

    def wait(self, job_id: str) -> DICOMImportJobPropertiesTypeDef:
        deadline = time.monotonic() + _JOB_ENDS_WITHIN_SECONDS
        while (job := self.job(job_id))["jobStatus"] not in {"COMPLETED", "FAILED"}:
            assert time.monotonic() < deadline, "the job does not end"
            time.sleep(0.02)
        return job

    def outputs(self, job_id: str) -> Outputs:
        folder = self.job(job_id)["outputS3Uri"].removeprefix(f"s3://{self.bucket}/")
        return Outputs(
            json.loads(self.s3.get_object(Bucket=self.bucket, Key=f"{folder}job-output-manifest.json")["Body"].read())[
                "jobSummary"
            ],
            *(self._lines(f"{folder}{name}") for name in ("SUCCESS/success", "FAILURE/failure", "WARNING/warning")),
        )

    def outputs_once_written(self, job_id: str) -> Outputs:
        deadline = time.monotonic() + _JOB_ENDS_WITHIN_SECONDS
        while True:
            try:
                return self.outputs(job_id)
            except self.s3.exceptions.NoSuchKey:
                assert time.monotonic() < deadline, "the outputs do not come"
                time.sleep(0.02)

    def run(self, objects: dict[str, bytes], prefix: str = "in/") -> Outputs:
        """Import these objects as one job, which must complete."""
        self.put(objects, prefix)
        job_id = self.start(prefix)
        assert self.wait(job_id)["jobStatus"] == "COMPLETED"
        return self.outputs(job_id)

    def ask_for(self, **faults: Any) -> None:
        set_faults(self.emulator, **faults)

    def _lines(self, name: str) -> list[dict[str, Any]] | None:
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=f"{name}.ndjson")["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None
        return [json.loads(line) for line in body.splitlines()]


def request_fault(error: str, times: int = 1, **more: Any) -> dict[str, Any]:
    """One of `requests=[...]` of the emulator's faults; of StartDICOMImportJob, unless `operation=` says otherwise."""
    return {"operation": "StartDICOMImportJob", "error": error, "times": times, **more}


def set_faults(emulator: HealthImaging | Aws, **faults: Any) -> None:
    """Replace the emulator's faults; without any, clear them."""
    launch.set_faults(emulator.endpoint_url, **faults)
