"""HealthImaging's rate holds for all executions together (docs/adr): many at once all complete, and near the rate allowed.

On the engine with a fake clock, against the emulator's limiter at the service's own rates; a job takes 90 s.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import workflows
from contract.manifest import PartSummary
from lambdas.logic.registering import plan_slices
from local.healthimaging.errors import ServiceError
from local.healthimaging.settings import RATES
from local.healthimaging.throttle import Throttle
from local.stepfunctions import Engine, FakeClock, TaskError, resources
from tests.support.stub_pipeline import Pipeline
from tests.workflows.test_bounds import manifest

JOB_SECONDS = 90
JOBS_AT_ONCE = 100
ARRIVALS, ARRIVE_WITHIN_SECONDS = 300, 60

Json = Any


@dataclass
class Hospital:
    """Associations that arrive evenly over a minute, and a HealthImaging that keeps its limits."""

    clock: FakeClock = field(default_factory=FakeClock)
    started: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    polled_too_often: int = 0

    def __post_init__(self) -> None:
        self._began = self.clock.now()
        self._throttle = Throttle(RATES, self.clock.now)

    @property
    def starts(self) -> list[float]:
        """When each job was started, in seconds after the first arrival."""
        return sorted(at - self._began for at in self.started.values())

    async def invoke(self, resource: str, arguments: Json) -> Json:
        if resource != resources.LAMBDA:
            start = resource.endswith("startDICOMImportJob")
            return self._start(arguments) if start else self._get(arguments)
        if arguments["FunctionName"] != "ClaimImport":
            return {"Payload": {"imported": 1, "failed": 0, "retry": 0}}
        number = arguments["Payload"]["part"]
        await self.clock.sleep_until(self._began + ARRIVE_WITHIN_SECONDS * number / ARRIVALS)
        uris = {"input_s3_uri": "s3://images/in/", "output_s3_uri": "s3://images/out/"}
        return {"Payload": {"attempt": 1, "job_id": "", "status": "CLAIMED", "staged": 0, **uris}}

    def _start(self, arguments: Json) -> Json:
        if not self._taken("StartDICOMImportJob"):
            self.refused += 1
            raise TaskError("MedicalImaging.ThrottlingException", "{}")
        open_jobs = sum(self.clock.now() - at < JOB_SECONDS for at in self.started.values())
        if open_jobs >= JOBS_AT_ONCE:
            self.refused += 1
            raise TaskError("MedicalImaging.ServiceQuotaExceededException", "{}")
        self.started[arguments["ClientToken"]] = self.clock.now()
        return {"JobId": arguments["ClientToken"], "JobStatus": "SUBMITTED"}

    def _get(self, arguments: Json) -> Json:
        if not self._taken("GetDICOMImportJob"):
            self.polled_too_often += 1
            raise TaskError("MedicalImaging.ThrottlingException", "{}")
        ended = self.clock.now() - self.started[arguments["JobId"]] >= JOB_SECONDS
        status = "COMPLETED" if ended else "IN_PROGRESS"
        return {"JobProperties": {"JobStatus": status, "OutputS3Uri": "s3://images/out/job/"}}

    def _taken(self, operation: str) -> bool:
        try:
            self._throttle.take(operation)
        except ServiceError:
            return False
        return True


def test_300_associations_in_a_minute_all_complete_and_start_near_the_rate_that_is_allowed() -> None:
    hospital = Hospital()
    values = {name: name.removesuffix("Function") for name in workflows.placeholders("import")}
    values |= {"PollFirstSeconds": "10", "PollCapSeconds": "60"}
    with Engine(hospital.invoke, clock=hospital.clock) as engine:
        machine = engine.create_state_machine("import", workflows.substitute("import", values))
        arns = [
            engine.start_execution(
                machine.arn, input_text=json.dumps({"association": f"a{number}", "edge": "e", "bucket": "b", "part": number})
            ).arn
            for number in range(ARRIVALS)
        ]
        statuses = {engine.wait(arn, timeout_seconds=250).status for arn in arns}
    assert statuses == {"SUCCEEDED"}
    assert len(hospital.starts) == ARRIVALS
    rate = RATES["StartDICOMImportJob"].per_second
    nine_of_ten = ARRIVALS * 9 // 10
    assert hospital.starts[nine_of_ten - 1] < 1.2 * nine_of_ten / rate
    assert hospital.starts[-1] < 2 * ARRIVALS / rate
    assert hospital.refused < 10 * ARRIVALS, "each is a transition that is paid for"
    assert hospital.polled_too_often == 0


def test_associations_that_share_a_manifest_cost_one_job_and_hardly_more_transitions_than_one_alone() -> None:
    transitions = {}
    for images in (1, ARRIVALS):
        sent = replace(manifest(1), parts=(PartSummary(part=1, objects=images, size_bytes=1),))
        pipeline = Pipeline(slices=[asdict(planned) for planned in plan_slices(sent)])
        parent, children = pipeline.run()
        assert parent.status == "SUCCEEDED"
        assert len(pipeline.stubs.called("startDICOMImportJob")) == 1
        events = [event["type"] for one in (parent, *children) for event in one.history]
        transitions[images] = sum(kind.endswith("StateEntered") for kind in events)
    assert transitions[1] > 20
    assert transitions[ARRIVALS] - transitions[1] == 2, "two more slices"
