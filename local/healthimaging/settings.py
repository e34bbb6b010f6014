"""What the emulator takes from HealthImaging's quotas, and what is nobody's documented fact, as settings.

Each is an option of `python -m local.healthimaging` (`--job-max-files 2`); README.md lists them.
Rates and quotas: AWS HealthImaging Developer Guide, "Endpoints and quotas".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rate:
    """How often an operation may be called: `per_second` in the long run, `burst` at once."""

    per_second: float
    burst: float


RATES: Mapping[str, Rate] = {
    "StartDICOMImportJob": Rate(1, 2),  # older accounts: 0.25, burst 1
    "GetDICOMImportJob": Rate(25, 50),
    "ListDICOMImportJobs": Rate(10, 20),
    "SearchImageSets": Rate(25, 50),
    "GetImageSet": Rate(25, 50),
    "GetImageSetMetadata": Rate(50, 100),
    "DeleteImageSet": Rate(0.25, 1),
    # What follows is our guess: nothing of ours calls these often.
    "ListImageSetVersions": Rate(25, 50),
    "CreateDatastore": Rate(1, 2),
    "GetDatastore": Rate(10, 20),
    "ListDatastores": Rate(5, 10),
    "DeleteDatastore": Rate(1, 2),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One emulator's settings."""

    job_seconds: float = 1.0
    """How long a job takes at least, from its submission to its end. The service's small jobs take about 90 s."""

    rates: Mapping[str, Rate] = field(default_factory=lambda: dict(RATES))

    concurrent_jobs: int = 100
    """Jobs of one data store that are SUBMITTED or IN_PROGRESS at once (ap-southeast-2: 20)."""

    job_max_files: int = 5_000
    job_max_bytes: int = 10 * 10**9
    job_max_folders: int = 10_000
    file_max_bytes: int = 10 * 10**9
    """4 GB in older accounts."""

    image_set_max_metadata_bytes: int = 50 * 10**6

    jobs_kept_days: float = 90
    """How long an ended job is listed."""

    token_kept_seconds: float = 24 * 3600
    """Undocumented: how long a client token is remembered."""

    warned_also_in_success: bool = False
    """Undocumented: whether a file in warning.ndjson also stands in success.ndjson."""
