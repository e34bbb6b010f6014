"""What Step Functions allows one execution, and how far the machines stay below it: computed from their files.

Limits: Step Functions Developer Guide, "Service quotas". Events: the guide's "HistoryEvent" types, as the engine writes them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

import workflows
from cdk.sections import Catalog, Polling
from contract.association import Ending
from contract.manifest import AssociationManifest, PartSummary
from lambdas.logic.claiming import SERVICE_FAULT_RETRIES
from lambdas.logic.registering import PARTS_AT_ONCE, SLICES_MAX, plan_slices
from tests.support.stub_pipeline import states_of

EVENTS_MAX = 25_000
DATA_MAX_BYTES = 256 * 1024
EVENTS = {"Wait": 2, "Choice": 2, "Task": 5}  # entered and exited; a Task is scheduled, started and has succeeded, too
EVENTS_PER_RETRY = 3  # failed, scheduled, started
EVENTS_PER_ITERATION = 2  # started, succeeded
EVENTS_PER_CHILD = EVENTS["Task"] + 1  # submitted, too
OBJECTS_PER_PART = 5_000

State = dict[str, Any]
IMPORT = dict(states_of(json.loads(workflows.definition("import"))))
INGEST = dict(states_of(json.loads(workflows.definition("ingest"))))


def timeout_seconds(machine: str) -> int:
    return int(json.loads(workflows.definition(machine))["TimeoutSeconds"])


def attempts(state: State) -> int:
    """How often a Task may be retried, by all of its retriers together."""
    return sum(retrier["MaxAttempts"] for retrier in state["Retry"])


def manifest(objects: int) -> AssociationManifest:
    parts = range(1, -(-objects // OBJECTS_PER_PART) + 1)
    return AssociationManifest(
        association="20261124T021501Z-SIXTEEN_LETTERS_-9f3c2a71",
        edge="e" * 32,
        sequence=1,
        calling_ae="A",
        called_ae="B",
        peer="",
        started_at=datetime(2026, 11, 24, tzinfo=UTC),
        ended_at=datetime(2026, 11, 24, tzinfo=UTC),
        ending=Ending.RELEASED,
        identical_repeats=0,
        parts=tuple(PartSummary(part=part, objects=OBJECTS_PER_PART, size_bytes=1) for part in parts),
        quarantined=(),
    )


def test_polls_of_a_job_that_never_ends_stay_below_the_limit_of_history_until_the_timeout() -> None:
    polling = Polling()
    growth = re.search(r"\$ceil\(\$wait_seconds \* ([\d.]+)\)", IMPORT["GetImportJob"]["Assign"]["wait_seconds"])
    assert growth
    wait, short_polls = float(polling.first_seconds), 0
    while wait < polling.cap_seconds:
        wait, short_polls = wait * float(growth[1]), short_polls + 1
    rounds = timeout_seconds("import") / polling.cap_seconds + short_polls * (1 + SERVICE_FAULT_RETRIES)
    round_trip = ["WaitForJob", "GetImportJob", "JobEnded"]
    assert IMPORT["JobEnded"]["Default"] == round_trip[0], "the loop"
    events_per_round = sum(EVENTS[IMPORT[name]["Type"]] for name in round_trip)
    assert events_per_round == 9
    assert rounds * events_per_round < EVENTS_MAX * 2 / 3


def test_retries_through_a_whole_day_stay_below_the_limit_of_history() -> None:
    """With full jitter a wait is half of its ceiling in the mean; until the ceiling stops growing there are few."""
    for name, state in IMPORT.items():
        for retrier in state.get("Retry", []):
            if retrier["JitterStrategy"] == "FULL":
                retries = min(retrier["MaxAttempts"], timeout_seconds("import") / (retrier["MaxDelaySeconds"] / 2) + 10)
                assert retries * EVENTS_PER_RETRY < EVENTS_MAX / 10, name


def test_an_association_of_100_000_objects_stays_below_the_limit_of_history_though_all_is_retried() -> None:
    """A Map retries what is at work, and fails when one of these has no attempts left: so much at once, and no more."""
    found = manifest(100_000)
    slices, parts = len(plan_slices(found)), len(found.parts)
    assert slices <= SLICES_MAX + parts
    events = slices * (EVENTS["Task"] + EVENTS_PER_ITERATION) + parts * (EVENTS_PER_CHILD + EVENTS_PER_ITERATION)
    at_work = {"IndexObjects": Catalog().slices_at_once, "ImportPart": PARTS_AT_ONCE}
    at_work |= {"RegisterAssociation": 1, "ReconcileAssociation": 1}
    retries = sum(count * attempts(INGEST[name]) for name, count in at_work.items())
    assert events + retries * EVENTS_PER_RETRY < EVENTS_MAX


@pytest.mark.parametrize("objects", [1, 100_000, 1_000_000])
def test_the_plan_of_so_many_objects_fits_into_one_output_with_room(objects: int) -> None:
    found = manifest(objects)
    slices = [{"part": one.part, "first": one.first, "count": one.count} for one in plan_slices(found)]
    plan = {"slices": slices, "parts": list(range(len(found.parts))), "association": found.association, "edge": found.edge}
    assert len(json.dumps(plan)) < DATA_MAX_BYTES / 4


def test_map_and_parallel_pass_on_counts_only() -> None:
    assert INGEST["IndexObjects"]["Output"] == "{% $states.result.Payload.indexed %}"
    assert INGEST["ImportPart"]["Output"] == "{% $states.result.Output.imported %}"
    for name in ("IndexSlices", "ImportParts"):
        [output] = INGEST[name]["Output"].values()
        assert output == "{% $sum([$states.result]) %}", name
    assert INGEST["IndexAndImport"]["Output"].keys() == {"indexed", "imported"}


def test_names_of_child_executions_and_of_jobs_fit() -> None:
    association = manifest(1).association
    assert len(f"{association}.{999_999}.{'x' * 8}") <= 80
    assert len(f"{association}#{'x' * 12}") <= 64


def test_the_parent_waits_longer_than_its_child_may_take() -> None:
    assert timeout_seconds("ingest") > timeout_seconds("import")
