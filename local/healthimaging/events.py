"""What the service tells EventBridge of its jobs and image sets: best effort, without counts, reasons, or patient data.

Source: AWS HealthImaging Developer Guide, "Using Amazon EventBridge with HealthImaging".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from local.healthimaging.outputs import job_folder_uri
from local.healthimaging.readback import arn_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class Bus(Protocol):
    """Where events go (local.events.EventBus). Never raises."""

    def deliver(
        self, *, source: str, detail_type: str, detail: Mapping[str, object], resources: Sequence[str] = ()
    ) -> None: ...


class ServiceEvents:
    """Without a bus nobody hears of anything."""

    def __init__(self, bus: Bus | None) -> None:
        self._bus = bus

    def import_job(self, job: sqlite3.Row, what: str) -> None:
        """`what` is Submitted, In Progress, Completed or Failed. outputS3Uri is the expanded one (undocumented)."""
        detail = {
            "jobId": job["id"],
            "jobName": job["name"],
            "jobStatus": job["status"],
            "inputS3Uri": job["input_uri"],
            "outputS3Uri": job_folder_uri(job["output_uri"], job["datastore_id"], job["id"]),
        }
        self._deliver(f"Import Job {what}", job["datastore_id"], detail)

    def image_set(
        self, datastore_id: str, image_set_id: str, *, version: int, is_primary: bool, what: str, state: str = "ACTIVE"
    ) -> None:
        """`what` is Created, Updated, Deleting or Deleted."""
        detail = {
            "isPrimary": is_primary,
            "imageSetVersion": str(version),
            "imagesetId": image_set_id,  # with a small s, unlike everywhere else
            "imageSetState": state,
            "imageSetWorkflowStatus": what.upper(),
        }
        self._deliver(f"Image Set {what}", datastore_id, detail)

    def _deliver(self, detail_type: str, datastore_id: str, detail: Mapping[str, object]) -> None:
        if self._bus is not None:
            self._bus.deliver(
                source="aws.medical-imaging",
                detail_type=detail_type,
                detail={"imagingVersion": "1.0", "datastoreId": datastore_id, **detail},
                resources=[arn_of(datastore_id)],
            )
