"""The reference's import pattern, rebuilt from its description: a timer starts jobs, looks at them, and records them.

Each tick starts a job for what is new, asks those that run for their status, and records those that have ended. Its
associations are announced at random moments of an interval.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.aws import Aws

_START_SECONDS = 1
"""HealthImaging takes one start a second."""


@dataclass
class _Announced:
    """An association as the reference's pattern has it."""

    at: float
    prefix: str
    job: str | None = None
    recorded: dict[str, Any] = field(default_factory=dict)


def timer_pattern(endpoints: Mapping[str, Any], prefixes: Sequence[str], timer_seconds: float) -> list[float]:
    """The seconds that the pattern takes for each import prefix, less the job's own time."""
    imaging = endpoints["medical_imaging"]
    client, s3 = Aws(imaging["endpoint_url"]).medical_imaging, Aws(endpoints["aws"]["endpoint_url"]).s3
    began = time.monotonic()
    moments = sorted(random.uniform(0, timer_seconds) for _ in prefixes)
    waiting = [_Announced(began + moment, prefix) for moment, prefix in zip(moments, prefixes, strict=True)]
    left, tick = list(waiting), began
    while left:
        tick += timer_seconds
        time.sleep(max(0.0, tick - time.monotonic()))
        for one in left:
            if one.job is None and one.at <= tick:
                time.sleep(_START_SECONDS)
                answer = client.start_dicom_import_job(
                    datastoreId=imaging["datastore_id"],
                    dataAccessRoleArn="arn:aws:iam::000000000000:role/bench",
                    clientToken=f"timer-{random.randrange(2**64):x}",
                    inputS3Uri=one.prefix,
                    outputS3Uri=f"s3://{urlsplit(one.prefix).netloc}/imports/timer/",
                )
                one.job = answer["jobId"]
            elif one.job is not None:
                job = client.get_dicom_import_job(datastoreId=imaging["datastore_id"], jobId=one.job)["jobProperties"]
                if job["jobStatus"] == "COMPLETED":
                    output = urlsplit(job["outputS3Uri"])
                    key = f"{output.path.strip('/')}/job-output-manifest.json"
                    one.recorded = json.loads(s3.get_object(Bucket=output.netloc, Key=key)["Body"].read())
                    own = (job["endedAt"] - job["submittedAt"]).total_seconds()
                    one.recorded["seconds"] = time.monotonic() - one.at - own
        left = [one for one in left if not one.recorded]
    return [one.recorded["seconds"] for one in waiting]
