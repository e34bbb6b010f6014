"""S3 and HealthImaging in memory, as far as the Lambdas and the machines use them: quick, and the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from contract.keys import parse_instance_key
from lambdas.errors import StorageNotFoundError
from local.stepfunctions import TaskError
from tests.support.lambdas import DATASTORE, Outputs

Json = Any


class MemoryS3:
    """Objects by bucket and key. It is `lambdas.adapters.aws.Storage`, and of boto3's client what tests put objects with."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    @property
    def s3(self) -> MemoryS3:
        return self

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - boto3's names
        self.objects[Bucket, Key] = Body

    def read(self, bucket: str, key: str) -> bytes:
        try:
            return self.objects[bucket, key]
        except KeyError:
            raise StorageNotFoundError("s3:GetObject: NoSuchKey") from None

    def read_range(self, bucket: str, key: str, first: int, count: int, *, version_id: str | None = None) -> bytes:
        return self.read(bucket, key)[first : first + count]

    def copy(self, bucket: str, key: str, copy_key: str) -> None:
        self.objects[bucket, copy_key] = self.read(bucket, key)

    def folders(self, bucket: str, prefix: str, first: str = "") -> Iterator[str]:
        below = (key.removeprefix(prefix) for found, key in self.objects if found == bucket and key.startswith(prefix))
        yield from sorted({key.partition("/")[0] for key in below if "/" in key and key >= first})


@dataclass
class MemoryJob:
    arguments: Json
    outputs: Outputs
    polls: int = 0
    fails: bool = False
    ended: bool = False


@dataclass
class MemoryImaging:
    """Import jobs that are IN_PROGRESS at their first poll and ended, with their outputs, at the second.

    `service_faults` are ends of keys that fail once by the service's fault; the next `failing_jobs` jobs end FAILED; while
    `stuck` none ends; the output `withhold` is not written until `write_withheld`.
    """

    s3: MemoryS3
    service_faults: set[str] = field(default_factory=set)
    failing_jobs: int = 0
    stuck: bool = False
    withhold: str = ""
    withheld: dict[tuple[str, str], bytes] = field(default_factory=dict)
    jobs: dict[str, MemoryJob] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    without_token: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)

    def start(self, arguments: Json) -> Json:
        for job_id, job in self.jobs.items():
            if job.arguments["ClientToken"] == arguments["ClientToken"] and job_id not in self.without_token:
                assert job.arguments == arguments, "HealthImaging answers ConflictException to another body"
                return {"JobId": job_id, "JobStatus": "SUBMITTED"}
        job_id = f"{len(self.jobs) + 1:032}"
        job = MemoryJob(arguments, Outputs())
        self.jobs[job_id] = job
        if self.failing_jobs:
            self.failing_jobs -= 1
            job.fails = True
        else:
            job.outputs = self._import(arguments["InputS3Uri"])
        return {"JobId": job_id, "JobStatus": "SUBMITTED"}

    def get(self, arguments: Json) -> Json:
        if arguments["JobId"] in self.forgotten:
            raise TaskError("MedicalImaging.ResourceNotFoundException", "{}")
        job = self.jobs[arguments["JobId"]]
        job.polls += 1
        ended = "FAILED" if job.fails else "COMPLETED"
        status = "IN_PROGRESS" if job.polls == 1 or self.stuck else ended
        if status == "COMPLETED" and not job.ended:
            self.end(arguments["JobId"])
        message = {"Message": "DICOM import job has failed."} if status == "FAILED" else {}
        properties = {"JobId": arguments["JobId"], "JobStatus": status, "OutputS3Uri": self._folder(arguments["JobId"])}
        return {"JobProperties": properties | message}

    def _import(self, input_s3_uri: str) -> Outputs:
        bucket, _, prefix = input_s3_uri.removeprefix("s3://").partition("/")
        outputs, touched = Outputs(), set()
        for found_bucket, key in sorted(self.s3.objects):
            if found_bucket != bucket or not key.startswith(prefix):
                continue
            end = key.rpartition("/")[2]
            if end in self.service_faults:
                self.service_faults.remove(end)
                outputs.fail(key, "InternalServerException", "try again")
            else:
                image_set = _image_set(key)
                if image_set not in touched:
                    touched.add(image_set)
                    self.versions[image_set] = self.versions.get(image_set, 0) + 1
                outputs.succeed(key, image_set, self.versions[image_set])
        return outputs

    def _folder(self, job_id: str) -> str:
        return f"{self.jobs[job_id].arguments['OutputS3Uri']}{DATASTORE}-DicomImport-{job_id}/"

    def _write(self, outputs: Outputs, folder_uri: str) -> None:
        bucket, _, folder = folder_uri.removeprefix("s3://").partition("/")
        aws: Any = self.s3
        outputs.write(aws, bucket, folder)
        late = (bucket, folder + self.withhold)
        if self.withhold and late in self.s3.objects:
            self.withheld[late] = self.s3.objects.pop(late)

    def list(self, arguments: Json) -> Json:
        """A page of one job each: of those that run, all are IN_PROGRESS."""
        running = [] if arguments["JobStatus"] == "SUBMITTED" else [one for one in self.jobs if not self.jobs[one].ended]
        page = int(arguments.get("NextToken", 0))
        summaries = [{"JobId": one, "JobName": self.jobs[one].arguments["JobName"]} for one in running[page : page + 1]]
        return {"JobSummaries": summaries} | ({"NextToken": str(page + 1)} if page + 1 < len(running) else {})

    def end(self, job_id: str) -> None:
        """The job is COMPLETED, whether anybody asks or not."""
        self.jobs[job_id].ended = True
        self._write(self.jobs[job_id].outputs, self._folder(job_id))

    def forget_tokens(self) -> None:
        """A start by a token that was given until now makes another job."""
        self.without_token |= self.jobs.keys()

    def forget(self) -> None:
        """No job that was started until now is known any more."""
        self.forgotten |= self.jobs.keys()

    def write_withheld(self) -> None:
        self.s3.objects |= self.withheld
        self.withhold = ""


def _image_set(key: str) -> str:
    """One image set for each series; staged copies have the same segments as what they are copies of."""
    segments = key.split("/")
    instance = parse_instance_key("/".join(["instances", *segments[1:4], *segments[-3:]]))
    return hashlib.sha256(instance.series.encode()).hexdigest()[:32]
