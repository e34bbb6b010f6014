"""What an edge is told of its objects' imports: of its own ones only, and nothing but a status and a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from contract.commitment import OBJECTS_MAX, ImportQuestion, SentObject
from contract.strict import ContractError, to_json
from lambdas import errors
from lambdas.handlers import answer_edge
from tests.support.associations import EDGE
from tests.support.dicom import ct_series
from tests.support.lambdas import CONTEXT, Run

if TYPE_CHECKING:
    from pathlib import Path

    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")

PENDING = {"status": "PENDING", "reason": None}
IMPORTED = {"status": "IMPORTED", "reason": None}


@pytest.fixture(autouse=True)
def edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ID", EDGE)


@pytest.fixture
def run(aws: Aws, placer: Placer, tmp_path: Path) -> Run:
    return Run(aws=aws, placed=placer.place([path.read_bytes() for path in ct_series(tmp_path, 3)]))


def sent(run: Run) -> list[SentObject]:
    return [
        SentObject(association=run.placed.association, sop_class_uid=one.sop_class_uid, sop_instance_uid=one.sop_instance_uid)
        for one in run.placed.entries
    ]


def answers(objects: list[SentObject]) -> Any:
    event = json.loads(to_json(ImportQuestion(objects=tuple(objects))))
    return answer_edge.handler(event, CONTEXT)["results"]


def test_an_object_is_pending_until_its_result_is_recorded(run: Run) -> None:
    assert answers(sent(run)) == [PENDING] * 3  # the catalog has not heard of it
    plan = run.register()
    run.index(plan["slices"])
    run.claim()
    assert answers(sent(run)) == [PENDING] * 3
    run.record("SUBMITTED")
    run.collect(run.imported())
    assert answers(sent(run)) == [IMPORTED] * 3


def test_what_failed_is_told_by_its_reason_without_a_message(run: Run) -> None:
    outputs = run.imported()
    refused = outputs.success.pop()["inputFile"]
    outputs.fail(refused, message="Patient DOE^JANE is not valid")
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    assert run.placed.entries[2].key == refused
    assert answers(sent(run)) == [IMPORTED, IMPORTED, {"status": "FAILED", "reason": "ValidationException"}]


def test_another_edge_is_told_nothing_of_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.all()
    monkeypatch.setenv("EDGE_ID", "edge-2")
    assert answers(sent(run)) == [PENDING] * 3


def test_an_object_of_another_class_or_association_is_not_taken_for_it(run: Run) -> None:
    run.all()
    one = sent(run)[0]
    elsewhere = f"{one.association[:-8]}00000000"
    other = [
        SentObject(association=one.association, sop_class_uid="1.2.3", sop_instance_uid=one.sop_instance_uid),
        SentObject(association=elsewhere, sop_class_uid=one.sop_class_uid, sop_instance_uid=one.sop_instance_uid),
        SentObject(association=one.association, sop_class_uid=one.sop_class_uid, sop_instance_uid=""),
    ]
    assert answers([*other, one]) == [PENDING, PENDING, PENDING, IMPORTED]
    assert answers([]) == []


def test_of_a_sop_instance_with_several_contents_the_last_counts(aws: Aws, placer: Placer, tmp_path: Path) -> None:
    first = next(iter(ct_series(tmp_path, 1))).read_bytes()
    run = Run(aws=aws, placed=placer.place([first], [first + b"\0\0"]))
    plan = run.register()
    run.index(plan["slices"])
    run.claim(1)
    run.record("SUBMITTED", 1)
    run.collect(run.imported(part=1), 1)
    assert answers(sent(run)[:1]) == [PENDING]
    run.claim(2)
    run.record("SUBMITTED", 2)
    run.collect(run.imported(part=2), 2)
    assert answers(sent(run)[:1]) == [IMPORTED]


def test_a_question_without_bounds_is_refused(run: Run) -> None:
    (one, *_) = sent(run)
    event = {"version": 1, "objects": [json.loads(to_json(one))] * (OBJECTS_MAX + 1)}
    with pytest.raises(ContractError, match="objects: expected at most 500"):
        answer_edge.handler(event, CONTEXT)
