"""Replays on an engine whose clock jumps: what AWS refuses, what was there before, and what others do meanwhile."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from console.aws import Cloud
from console.planning import Act
from console.replay import Done, Replay
from console.stack import Stack
from contract.keys import manifest_key
from lambdas.catalog.queries import connect
from lambdas.errors import IncompleteError, LedgerMismatchError
from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from local.stepfunctions import Engine, FakeClock
from local.stepfunctions.errors import TaskError
from local.stepfunctions.names import execution_arn, machine_arn
from local.stepfunctions.server import Server
from local.stepfunctions.testing import Stubs
from tests.support.lambdas import Run
from tests.support.machines import machine, task, text, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdas.catalog import CatalogSettings
    from local.aws import Aws
    from tests.support.associations import PlacedAssociation, Placer

FIFTEEN_DAYS = 15 * 86_400


@dataclass
class Machines:
    """The machines `ingest` and `import`, a step each, which fail as they are told to."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(jumps=False))
    ingest_fails: str = ""
    import_fails: str = ""

    def __post_init__(self) -> None:
        self.engine = Engine(Stubs(functions={"Ingest": self._ingest, "Import": self._import}), clock=self.clock)
        self.server = Server(self.engine)
        for name, function in (("ingest", "Ingest"), ("import", "Import")):
            self.engine.create_state_machine(name, text(machine(task("Do", function))))

    def run(self, name: str, document: dict[str, Any]) -> str:
        arn = self.engine.start_execution(machine_arn("ingest"), name=name, input_text=json.dumps(document)).arn
        self.engine.wait(arn)
        return arn

    def inputs(self, machine_name: str) -> dict[str, Any]:
        """The input of every execution, by its name."""
        found = self.engine.executions(machine_arn(machine_name))
        return {one.name: json.loads(self.engine.first_and_last_event(one.arn)[1].details["input"]) for one in found}

    def _ingest(self, payload: Any) -> Any:
        return self._unless(self.ingest_fails)

    def _import(self, payload: Any) -> Any:
        return self._unless(self.import_fails)

    def _unless(self, error: str) -> Any:
        if error:
            raise TaskError(error, "on purpose")
        return {}


@pytest.fixture
def machines() -> Iterator[Machines]:
    made = Machines()
    yield made
    made.server.close()
    made.engine.close()


@pytest.fixture
def stack(aws: Aws, bucket: str, machines: Machines, migrated_settings: CatalogSettings) -> Stack:
    endpoints = {
        "aws": {
            "endpoint_url": aws.endpoint_url,
            "region": REGION,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        },
        "stepfunctions": {"endpoint_url": machines.server.endpoint_url},
        "medical_imaging": {"endpoint_url": aws.endpoint_url},
    }
    return Stack(
        cloud=Cloud.of_endpoints(endpoints),
        bucket=bucket,
        queues=(),
        ingest_machine_arn=machine_arn("ingest"),
        import_machine_arn=machine_arn("import"),
        datastore_id="0" * 32,
        catalog_settings=migrated_settings,
    )


@pytest.fixture
def incomplete(lambdas: None, aws: Aws, placer: Placer, machines: Machines) -> PlacedAssociation:
    """An association of which HealthImaging has failed one object by its own fault; its execution is red."""
    placed = placer.place([b"one", b"another"])
    run = Run(aws=aws, placed=placed)
    outputs = run.imported()
    outputs.success.pop()
    outputs.fail(placed.entries[1].key, "InternalServerException", "try again")
    with pytest.raises(IncompleteError):
        run.all(outputs)
    machines.ingest_fails = "Ingest.Incomplete"
    machines.run(placed.association, placed.document)
    machines.ingest_fails = ""
    return placed


def replay(
    stack: Stack, association: str, asked: Act | None = None, *, force: bool = False, before: Any = None
) -> tuple[str, Done]:
    """Why it was planned so, and what was done; `before` is called in between."""
    with closing(connect(stack.catalog_settings)) as queries:
        replaying = Replay(stack, queries, asked=asked, force=force, starts_per_second=1000, sleep=lambda _: time.sleep(0.01))
        plan = replaying.plan(association)
        if before:
            before()
        (done,) = replaying.carry_out([plan])
        return plan.why, done


def test_what_failed_by_the_service_is_imported_and_the_original_turns_green(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    _, done = replay(stack, incomplete.association)
    assert (done.act, done.refused) == (Act.FAILED_ONLY, False)
    (imported,) = machines.inputs("import").values()
    assert imported == {
        "association": incomplete.association,
        "edge": "edge-1",
        "bucket": incomplete.bucket,
        "part": 1,
        "failed_only": True,
        "force": False,
    }
    original = machines.engine.wait(done.execution_arn)
    assert (original.name, original.status, len(original.redrives)) == (incomplete.association, "SUCCEEDED", 1)


def test_foreign_objects_are_forgotten_once_they_are_removed_from_s3(
    stack: Stack, machines: Machines, lambdas: None, aws: Aws, placer: Placer
) -> None:
    placed = placer.place([b"one"])
    run, stray = Run(aws=aws, placed=placed), placed.entries[0].key.replace("/1/", "/1/stray/", 1)
    outputs = run.imported()
    outputs.succeed(stray, "set-of-stray")
    with pytest.raises(LedgerMismatchError):
        run.all(outputs)
    machines.ingest_fails = "Ingest.LedgerMismatch"
    machines.run(placed.association, placed.document)
    machines.ingest_fails = ""
    aws.s3.put_object(Bucket=placed.bucket, Key=stray, Body=b"stray")
    why, done = replay(stack, placed.association)
    assert (why, done.refused) == (
        "1 foreign object(s) are below its import prefix: remove them there, then replay it again",
        True,
    )
    aws.s3.delete_object(Bucket=placed.bucket, Key=stray)
    _, done = replay(stack, placed.association)
    assert (done.act, done.said) == (Act.REDRIVE, "its foreign objects are removed: forgets them")
    with closing(connect(stack.catalog_settings)) as queries:
        counts = queries.ledger(placed.association)
    assert counts is not None
    assert (counts.foreign, counts.balanced) == (0, True)


def test_after_14_days_a_redrive_is_refused_in_words_and_a_restart_follows_the_import(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    machines.clock.advance(FIFTEEN_DAYS)
    why, nothing = replay(stack, incomplete.association)
    assert why == "it ended more than 14 days ago, and AWS redrives nothing older: use --restart"
    assert nothing.refused
    _, done = replay(stack, incomplete.association, Act.FAILED_ONLY)
    assert (done.act, done.refused) == (Act.FAILED_ONLY, False)
    assert done.execution_arn == execution_arn("ingest", f"{incomplete.association}.restart-1")
    inputs = machines.inputs("ingest")
    assert inputs[f"{incomplete.association}.restart-1"] == inputs[incomplete.association] == incomplete.document


def test_an_import_that_fails_again_is_told_and_nothing_is_redriven(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    machines.import_fails = "Import.JobFailed"
    _, done = replay(stack, incomplete.association)
    assert done.refused
    assert "1 import(s) failed" in done.said
    assert machines.engine.execution(execution_arn("ingest", incomplete.association)).redrives == []


def test_a_machine_whose_definition_changed_since_is_said_to_be_so(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    def change() -> None:
        machines.ingest_fails = "Ingest.Incomplete"

    unchanged, done = replay(stack, incomplete.association, Act.REDRIVE, before=change)
    assert unchanged == "goes on from the step that failed"
    machines.engine.wait(done.execution_arn)
    machines.engine.update_state_machine(machine_arn("ingest"), definition=text(machine(task("Other", "Ingest"))))
    changed, _ = replay(stack, incomplete.association, Act.REDRIVE)
    assert "its machine's definition has changed since" in changed


def test_what_somebody_else_redrives_meanwhile_is_left_to_them(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    arn = execution_arn("ingest", incomplete.association)

    def others() -> None:
        machines.engine.redrive_execution(arn)
        machines.engine.wait(arn)

    _, done = replay(stack, incomplete.association, Act.REDRIVE, before=others)
    assert done.refused
    assert done.said == "meanwhile somebody else has replayed it, or it has succeeded"
    assert len(machines.engine.execution(arn).redrives) == 1


def test_a_second_restart_has_the_next_name_and_none_is_made_while_one_runs(
    stack: Stack, machines: Machines, incomplete: PlacedAssociation
) -> None:
    _, first = replay(stack, incomplete.association, Act.RESTART)
    machines.engine.wait(first.execution_arn)
    machines.engine.update_state_machine(machine_arn("ingest"), definition=text(machine(wait("Wait", 60))))
    _, second = replay(stack, incomplete.association, Act.RESTART, force=True)
    assert machines.inputs("ingest")[f"{incomplete.association}.restart-2"] == incomplete.document | {"force": True}
    _, third = replay(stack, incomplete.association, Act.RESTART)
    assert (second.said, third.said) == (f"as {incomplete.association}.restart-2", "a restart of it runs already")
    assert third.refused


def test_an_association_without_its_manifest_is_named_and_keeps_no_other_from_being_replayed(
    *, stack: Stack, machines: Machines, incomplete: PlacedAssociation, aws: Aws, placer: Placer
) -> None:
    lost = placer.place([b"one"])
    Run(aws=aws, placed=lost).register()
    aws.s3.delete_object(Bucket=lost.bucket, Key=manifest_key("edge-1", lost.association))
    with closing(connect(stack.catalog_settings)) as queries:
        replaying = Replay(stack, queries, asked=None, force=False, starts_per_second=1000, sleep=lambda _: time.sleep(0.01))
        restart = replace(replaying.plan(lost.association), act=Act.RESTART)
        refused, done = replaying.carry_out([replaying.plan(incomplete.association), restart])
    assert (refused.association, refused.refused) == (lost.association, True)
    assert refused.said.startswith("Storage.NotFound: ")
    assert (done.association, done.act) == (incomplete.association, Act.FAILED_ONLY), "and it was followed"
    assert machines.engine.wait(done.execution_arn).status == "SUCCEEDED"


def test_an_association_that_the_catalog_does_not_know_is_started_from_its_manifest(
    stack: Stack, machines: Machines, lambdas: None, placer: Placer
) -> None:
    placed = placer.place([b"one"])
    why, _ = replay(stack, placed.association)
    assert why == "Step Functions knows no execution of it: use --restart"
    before_ms = int(time.time() * 1000)
    replay(stack, placed.association, Act.RESTART)
    started = machines.inputs("ingest")[placed.association]
    assert abs(started.pop("sent_at_ms") - before_ms) < 60_000
    assert started == json.loads(placed.message)
