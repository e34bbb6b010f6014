"""Runs the Lambdas of an execution in this process, in the order of the state machines, on outputs written by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lambdas.handlers import (
    claim_import,
    collect_results,
    index_objects,
    reconcile_association,
    record_job,
    register_association,
    stage_copies,
)
from tests.support.stepfunctions import execution_arn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.aws import Aws
    from tests.support.associations import PlacedAssociation

CONTEXT = SimpleNamespace(function_name="test", aws_request_id="1")
DATASTORE = "0123456789abcdef0123456789abcdef"


@dataclass(kw_only=True)
class Outputs:
    """What HealthImaging says of a job: lines of the three outputs, and image sets by id, as (version, primary).

    `scanned` is how many files the job says it scanned, when these are not those that stand here; `input_s3_uri` is what it
    says it imported.
    """

    success: list[dict[str, Any]] = field(default_factory=list)
    failure: list[dict[str, Any]] = field(default_factory=list)
    warning: list[dict[str, Any]] = field(default_factory=list)
    image_sets: dict[str, tuple[int, bool]] = field(default_factory=dict)
    scanned: int | None = None
    input_s3_uri: str | None = None

    def succeed(self, key: str, image_set: str, version: int = 1, *, primary: bool = True) -> None:
        self.image_sets[image_set] = (version, primary)
        response = {"imageSetId": image_set, "imageSetVersion": version, "isPrimary": primary}
        self.success.append({"inputFile": key, "importResponse": response})

    def fail(self, key: str, exception: str = "ValidationException", message: str = "DICOM attribute is not valid") -> None:
        self.failure.append({"inputFile": key, "exception": {"exceptionType": exception, "message": message}})

    def warn(self, key: str, image_set: str, version: int = 1) -> None:
        self.image_sets[image_set] = (version, True)
        warned = [{"warning_reason_code": 45330, "type": "InvalidOffsetTable", "message": "offset table"}]
        response = {"imageSetId": image_set, "imageSetVersion": version, "isPrimary": True, "warnings": warned}
        self.warning.append({"inputFile": key, "importResponse": response})

    def write(self, aws: Aws, bucket: str, folder: str) -> None:
        """Write the outputs as a job does (an output without lines is not written); `folder` ends in `/`."""
        for name, lines in (
            ("SUCCESS/success", self.success),
            ("FAILURE/failure", self.failure),
            ("WARNING/warning", self.warning),
        ):
            if lines:
                body = "".join(json.dumps(line) + "\n" for line in lines).encode()
                aws.s3.put_object(Bucket=bucket, Key=f"{folder}{name}.ndjson", Body=body)
        files = {line["inputFile"] for line in [*self.success, *self.failure, *self.warning]}
        summary = {
            "jobId": "job",
            "datastoreId": DATASTORE,
            "inputS3Uri": self.input_s3_uri,
            "numberOfScannedFiles": self.scanned or len(files),
            "imageSetsSummary": [
                {"imageSetId": one, "imageSetVersion": version, "isPrimary": primary, "numberOfMatchedSOPInstances": 1}
                for one, (version, primary) in self.image_sets.items()
            ],
        }
        body = json.dumps({"jobSummary": summary}).encode()
        aws.s3.put_object(Bucket=bucket, Key=f"{folder}job-output-manifest.json", Body=body)


@dataclass(kw_only=True)
class Run:
    """One execution of `ingest` for an association, step by step."""

    aws: Aws
    placed: PlacedAssociation
    name: str = ""

    @property
    def arn(self) -> str:
        return execution_arn(self.name or self.placed.association)

    @property
    def part(self) -> tuple[str, int]:
        """The association, and its first part."""
        return self.placed.association, 1

    def register(self) -> dict[str, Any]:
        payload = {"announcement": self.placed.document, "execution_arn": self.arn}
        return register_association.handler(payload, CONTEXT)

    def index(self, slices: Iterable[dict[str, int]]) -> list[dict[str, Any]]:
        return [index_objects.handler(self._where | one, CONTEXT) for one in slices]

    def claim(self, part: int = 1, *, force: bool = False, failed_only: bool = False) -> dict[str, Any]:
        payload = self._where | {"part": part, "execution_arn": f"{self.arn}.{part}"}
        return claim_import.handler(payload | {"force": force, "failed_only": failed_only}, CONTEXT)

    def stage(self, part: int = 1, attempt: int = 1) -> dict[str, Any]:
        return stage_copies.handler(self._attempt(part, attempt) | {"bucket": self.placed.bucket}, CONTEXT)

    def record(self, status: str, part: int = 1, attempt: int = 1, job_id: str = "job1") -> None:
        record_job.handler(self._attempt(part, attempt) | {"job_id": job_id, "status": status}, CONTEXT)

    def collect(
        self, outputs: Outputs | None, part: int = 1, attempt: int = 1, job_id: str = "job1", *, force: bool = False
    ) -> dict[str, Any]:
        folder = (
            f"imports/{self.placed.manifest.edge}/{self.placed.association}/{part}/{attempt}/{DATASTORE}-DicomImport-{job_id}/"
        )
        if outputs is not None:
            outputs.write(self.aws, self.placed.bucket, folder)
        payload = self._where | self._attempt(part, attempt) | {"force": force}
        return collect_results.handler(
            payload | {"job_id": job_id, "job_output_s3_uri": f"s3://{self.placed.bucket}/{folder}"}, CONTEXT
        )

    def reconcile(self) -> dict[str, Any]:
        return reconcile_association.handler({"association": self.placed.association, "execution_arn": self.arn}, CONTEXT)

    def imported(self, image_set: str = "", part: int = 1) -> Outputs:
        """Outputs by which every object of a part went into one image set a series."""
        outputs = Outputs()
        for entry in self.placed.parts[part - 1].entries:
            outputs.succeed(entry.key, image_set or f"set-{entry.series_instance_uid[-8:]}")
        return outputs

    def all(self, outputs: Outputs | None = None) -> dict[str, Any]:
        """The whole execution of an association of one part."""
        plan = self.register()
        self.index(plan["slices"])
        for part in plan["parts"]:
            self.claim(part)
            self.record("SUBMITTED", part)
            self.collect(outputs or self.imported(part=part), part)
        return self.reconcile()

    @property
    def _where(self) -> dict[str, Any]:
        return {"association": self.placed.association, "edge": self.placed.manifest.edge, "bucket": self.placed.bucket}

    def _attempt(self, part: int, attempt: int) -> dict[str, Any]:
        return {"association": self.placed.association, "part": part, "attempt": attempt}
