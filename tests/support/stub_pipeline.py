"""The two machines on our engine with stub Lambdas and a stub HealthImaging, which do as they should until told otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import workflows
from local.stepfunctions import Engine, FakeClock, TaskError
from local.stepfunctions.testing import Outcome, Stubs, outcome

ASSOCIATION = "20261124T021501Z-CT_ROOM_1-9f3c2a71"
JOB_ID = "0123456789abcdef0123456789abcdef"

Json = Any


@dataclass
class Pipeline:
    """Both machines with Lambdas and a HealthImaging that do as they should, until a test says otherwise."""

    slices: list[Json] = field(default_factory=lambda: [{"part": 1, "first": 0, "count": 100}])
    parts: list[int] = field(default_factory=lambda: [1])
    parts_at_once: int = 10
    claim: Json = field(default_factory=lambda: {"attempt": 1, "job_id": "", "status": "CLAIMED", "staged": 0})
    statuses: Iterable[str] = ("IN_PROGRESS", "COMPLETED")
    functions: dict[str, Callable[[Json], Json]] = field(default_factory=dict)
    medical_imaging: dict[str, Callable[[Json], Json]] = field(default_factory=dict)
    poll_cap_seconds: int = 60

    def __post_init__(self) -> None:
        where = {"association": ASSOCIATION, "edge": "site-1", "bucket": "images"}
        uris = {"input_s3_uri": "s3://images/instances/", "output_s3_uri": "s3://images/imports/"}
        self.usual: dict[str, Callable[[Json], Json]] = {
            "RegisterAssociation": lambda _payload: {
                **where,
                "force": False,
                "slices": self.slices,
                "parts": self.parts,
                "parts_at_once": self.parts_at_once,
            },
            "IndexObjects": lambda payload: {"indexed": payload["count"], "not_indexed": 0, "fetched_bytes": 1},
            "ClaimImport": lambda _payload: {**self.claim, **uris},
            "StageCopies": lambda _payload: {"staged": 1},
            "RecordJob": lambda _payload: {},
            "CollectResults": lambda _payload: {
                "imported": 100,
                "failed": 0,
                "warned": 0,
                "foreign": 0,
                "image_sets": 1,
                "retry": 0,
            },
            "RecordFailure": lambda _payload: {},
            "ReconcileAssociation": lambda _payload: {"verdict": "COMPLETE", "objects": 100},
        }
        self._statuses = iter(self.statuses)
        imaging: dict[str, Callable[[Json], Json]] = {
            "startDICOMImportJob": lambda _arguments: {"JobId": JOB_ID, "JobStatus": "SUBMITTED"},
            "getDICOMImportJob": lambda _arguments: {"JobProperties": self.job()},
        }
        self.stubs = Stubs(functions=self.usual | self.functions, medical_imaging=imaging | self.medical_imaging)

    def job(self) -> Json:
        status = next(self._statuses)
        message = {"Message": "DICOM import job has failed.\nFILE_COUNTS_LIMIT"} if status == "FAILED" else {}
        return {"JobId": JOB_ID, "JobStatus": status, "OutputS3Uri": "s3://images/imports/x/", **message}

    def run(self) -> tuple[Outcome, list[Outcome]]:
        """The outcomes of the ingest execution and of its import executions, oldest first."""
        with Engine(self.stubs, clock=FakeClock()) as engine:
            child = engine.create_state_machine("import", self._definition("import", ""))
            parent = engine.create_state_machine("ingest", self._definition("ingest", child.arn))
            execution = engine.start_execution(parent.arn, name=ASSOCIATION, input_text=json.dumps({"sent_at_ms": 1}))
            engine.wait(execution.arn)
            children = sorted(engine.executions(child.arn), key=lambda one: one.started_at)
            return outcome(engine, execution.arn), [outcome(engine, one.arn) for one in children]

    def _definition(self, machine: str, import_arn: str) -> str:
        values = {name: name.removesuffix("Function") for name in workflows.placeholders(machine)}
        values |= {"ImportStateMachineArn": import_arn, "PollFirstSeconds": "10", "PollCapSeconds": str(self.poll_cap_seconds)}
        values["SlicesAtOnce"] = "40"
        return workflows.substitute(machine, values)


def failing(times: int, error: str, then: Json) -> Callable[[Json], Json]:
    """Fails by a name some times, then returns."""
    left = [times]

    def call(_payload: Json) -> Json:
        if left[0]:
            left[0] -= 1
            raise TaskError(error, "{}")
        return then

    return call


def always(error: str) -> Callable[[Json], Json]:
    return failing(1_000_000, error, {})


def states_of(definition: Json) -> Iterator[tuple[str, Json]]:
    """Every state of a machine by its name, those inside Map and Parallel after the one they are in."""
    for name, state in definition["States"].items():
        yield name, state
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from states_of(inner)
