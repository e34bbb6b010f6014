"""`ahi-ingest replay`, against a running stack whose HealthImaging fails on demand."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pydicom
import pytest

from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.queries import Queries, connect
from lambdas.logic.claiming import SERVICE_FAULT_RETRIES
from tests.support.associations import PlacedAssociation, Placer
from tests.support.catalog import rows
from tests.support.console import ahi_ingest
from tests.support.healthimaging import set_faults
from tests.support.pipeline import announce, ct_small_with_uids_of_their_own, wait_until
from tests.support.stack import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack

# Who drives what, and when: a replay changes these, and nothing else.
_OF_THE_RUN = {
    "execution_arn",
    "redrive_count",
    "registered_at",
    "status_changed_at",
    "told_at",
    "indexed_at",
    "claimed_at",
    "submitted_at",
    "ended_at",
    "recorded_at",
}


@pytest.fixture(scope="module")
def queries(stack: RunningStack) -> Iterator[Queries]:
    with closing(connect(_settings(stack))) as found:
        yield found


@pytest.fixture
def placer(stack: RunningStack) -> Iterator[Placer]:
    """Puts associations into the stack's bucket; the stack has no faults before and after."""
    set_faults(stack.healthimaging)
    yield Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local")
    set_faults(stack.healthimaging)


def _settings(stack: RunningStack) -> CatalogSettings:
    return CatalogSettings(**stack.endpoints["mysql"], tls="off")


def execution_arn(stack: RunningStack, name: str) -> str:
    return f"{stack.endpoints['state_machines']['ingest'].replace(':stateMachine:', ':execution:')}:{name}"


def wait_for_status(queries: Queries, placed: PlacedAssociation, *wanted: str) -> None:
    def reached() -> bool:
        row = queries.association(placed.association)
        return row is not None and row.status in wanted

    wait_until(reached, f"{placed.association} {' or '.join(wanted)}")


def rows_of(stack: RunningStack, placed: PlacedAssociation) -> dict[str, list[dict[str, Any]]]:
    """All that the catalog holds of an association, but for who wrote it and when."""
    with closing(Catalog(lambda: _settings(stack))) as catalog:
        found = {
            table: rows(catalog, table, "association = %s", (placed.association,))
            for table in ("association", "stored_object", "import_job", "image_set")
        }
    return {
        table: sorted(({name: value for name, value in row.items() if name not in _OF_THE_RUN} for row in listed), key=repr)
        for table, listed in found.items()
    }


def test_one_replay_of_all_that_failed_gives_each_what_helps(stack: RunningStack, queries: Queries, placer: Placer) -> None:
    set_faults(stack.healthimaging, failing_jobs=1)
    job_failed = placer.place(ct_small_with_uids_of_their_own(2))
    announce(stack, job_failed.message)
    wait_for_status(queries, job_failed, "FAILED")
    refused = placer.place(ct_small_with_uids_of_their_own(2))
    name = refused.entries[1].key.rpartition("/")[2]
    set_faults(stack.healthimaging, keys=[{"suffix": name, "error": "customer"}])
    announce(stack, refused.message)
    wait_for_status(queries, refused, "INCOMPLETE")
    set_faults(stack.healthimaging)

    planned = ahi_ingest(stack, "replay", "--since", "1h", "--dry-run")
    assert planned.returncode == 0
    assert "Would be done" in planned.stdout
    assert queries.association(job_failed.association).status == "FAILED"  # type: ignore[union-attr]

    replayed = ahi_ingest(stack, "replay", "--since", "1h", "--per-second", "10", "--wait")
    assert replayed.returncode == 1  # one of them needs somebody
    assert "goes on from the step that failed" in replayed.stdout
    assert "refused by HealthImaging" in replayed.stdout
    wait_for_status(queries, job_failed, "COMPLETE")
    assert stack.executions()[job_failed.association] == "SUCCEEDED"
    assert {row.import_status for row in queries.stored_objects(job_failed.association)} == {"IMPORTED"}
    assert [job.status for job in queries.import_jobs(job_failed.association)] == ["FAILED", "COMPLETED"]
    assert stack.executions()[refused.association] == "FAILED"

    nevertheless = ahi_ingest(stack, "replay", refused.association, "--failed-only", "--wait")
    assert nevertheless.returncode == 0
    assert "imported again: 1 object(s) of part(s) 1" in nevertheless.stdout
    wait_for_status(queries, refused, "COMPLETE")
    assert stack.executions()[refused.association] == "SUCCEEDED"  # the original turned green
    assert [(job.imported, job.failed) for job in queries.import_jobs(refused.association)] == [(1, 1), (1, 0)]
    again = ahi_ingest(stack, "replay", refused.association)
    assert again.returncode == 0
    assert "it is COMPLETE" in again.stdout


def test_redriven_or_started_anew_from_awss_console_the_rows_are_those_of_a_clean_run(
    stack: RunningStack, queries: Queries, placer: Placer
) -> None:
    clean = placer.place(ct_small_with_uids_of_their_own(2))
    announce(stack, clean.message)
    wait_for_status(queries, clean, "COMPLETE")
    before = rows_of(stack, clean)
    engine = stack.engine.stepfunctions
    arn = execution_arn(stack, clean.association)
    wait_until(lambda: engine.describe_execution(executionArn=arn)["status"] == "SUCCEEDED", "it gave up its association")
    original = engine.describe_execution(executionArn=arn)
    anew = engine.start_execution(
        stateMachineArn=stack.endpoints["state_machines"]["ingest"], name=str(uuid4()), input=original["input"]
    )["executionArn"]
    wait_until(lambda: engine.describe_execution(executionArn=anew)["status"] == "SUCCEEDED", "the new execution succeeded")
    assert rows_of(stack, clean) == before

    set_faults(stack.healthimaging, requests=[{"operation": "GetDICOMImportJob", "error": "AccessDeniedException", "times": 1}])
    refused = placer.place(ct_small_with_uids_of_their_own(2))
    announce(stack, refused.message)
    wait_for_status(queries, refused, "FAILED")
    engine.redrive_execution(executionArn=execution_arn(stack, refused.association))
    wait_for_status(queries, refused, "COMPLETE")
    redriven = rows_of(stack, refused)
    assert {table: len(listed) for table, listed in redriven.items()} == {
        table: len(listed) for table, listed in before.items() if table != "image_set"
    } | {"image_set": len(redriven["image_set"])}
    assert {row["import_status"] for row in redriven["stored_object"]} == {"IMPORTED"}
    assert [row["status"] for row in redriven["import_job"]] == ["COMPLETED"]


def test_a_restart_after_a_stop_has_a_name_and_the_input_of_its_own(
    stack: RunningStack, queries: Queries, placer: Placer
) -> None:
    set_faults(stack.healthimaging, job_seconds=60)
    placed = placer.place(ct_small_with_uids_of_their_own(1))
    announce(stack, placed.message)
    wait_until(lambda: any(job.job_id for job in queries.import_jobs(placed.association)), "the job started")
    running = ahi_ingest(stack, "replay", placed.association)
    assert running.returncode == 0
    assert "it runs" in running.stdout
    engine = stack.engine.stepfunctions
    engine.stop_execution(executionArn=execution_arn(stack, placed.association), error="Operator.Stopped")
    wait_for_status(queries, placed, "ABORTED")
    restarted = ahi_ingest(stack, "replay", placed.association, "--restart")
    assert restarted.returncode == 0
    name = f"{placed.association}.restart-1"
    original, anew = (
        json.loads(engine.describe_execution(executionArn=execution_arn(stack, each))["input"])
        for each in (placed.association, name)
    )
    assert anew == original
    wait_for_status(queries, placed, "RUNNING")
    assert len(queries.import_jobs(placed.association)) == 1  # the job that runs is adopted
    engine.stop_execution(executionArn=execution_arn(stack, name))


def test_failures_are_found_by_error_and_study_and_a_replay_that_is_broken_off_tells_what_it_did_and_the_next_does_the_rest(
    stack: RunningStack, queries: Queries, placer: Placer
) -> None:
    set_faults(stack.healthimaging, failing_jobs=2)
    placed = [placer.place([file]) for file in ct_small_with_uids_of_their_own(2)]
    for one in placed:
        announce(stack, one.message)
    for one in placed:
        wait_for_status(queries, one, "FAILED")
        assert queries.association(one.association).error == "States.TaskFailed"  # type: ignore[union-attr]
    by_error = ahi_ingest(stack, "replay", "--error", "Import.JobFailed", "--dry-run")
    by_study = ahi_ingest(stack, "replay", "--study", placed[0].entries[0].study_instance_uid, "--dry-run")
    for one in placed:
        assert one.association in by_error.stdout
        assert one.association in by_study.stdout
    command: list[str | Path] = [
        COMMAND,
        "replay",
        "--error",
        "Import.JobFailed",
        "--per-second",
        "0.01",
        "--state",
        stack.state,
    ]
    # Python leaves an ignored SIGINT ignored, and a shell's background job, as CI may be, begins with it ignored.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        wait_until(
            lambda: any(queries.association(one.association).status != "FAILED" for one in placed),  # type: ignore[union-attr]
            "the first replayed",
        )
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stdout.count("goes on from the step") == 1
    assert "the same command again takes up the rest" in stderr
    ahi_ingest(stack, "replay", "--error", "Import.JobFailed", "--per-second", "10")
    for one in placed:
        wait_for_status(queries, one, "COMPLETE")
        assert len(queries.import_jobs(one.association)) == 2


def test_one_replay_imports_what_failed_of_several_associations_and_each_of_the_originals_turns_green(
    stack: RunningStack, queries: Queries, placer: Placer
) -> None:
    study = pydicom.uid.generate_uid()
    placed = [placer.place(ct_small_with_uids_of_their_own(count, StudyInstanceUID=study)) for count in (3, 2, 2)]
    faulted = [entry.key.rpartition("/")[2] for one in placed[:2] for entry in one.entries[1:]]
    set_faults(stack.healthimaging, keys=[{"suffix": name, "error": "server"} for name in faulted])
    originals = [one.association for one in placed]
    for one in placed:
        announce(stack, one.message)
    for one in placed[:2]:
        wait_for_status(queries, one, "INCOMPLETE")
    wait_for_status(queries, placed[2], "COMPLETE")
    set_faults(stack.healthimaging)

    replayed = ahi_ingest(stack, "replay", "--study", study, "--failed-only", "--per-second", "10", "--wait")
    assert replayed.returncode == 0, replayed.stdout
    for one, count in zip(placed[:2], (2, 1), strict=True):
        assert f"imported again: {count} object(s) of part(s) 1" in replayed.stdout
        wait_for_status(queries, one, "COMPLETE")
        assert {row.import_status for row in queries.stored_objects(one.association)} == {"IMPORTED"}
        *before, last = queries.import_jobs(one.association)
        assert [(job.imported, job.failed) for job in before] == [(1, count), *[(0, count)] * SERVICE_FAULT_RETRIES]
        assert (last.imported, last.failed) == (count, 0)  # what failed, and nothing else
        assert last.input_s3_uri.endswith(f"/retries/local/{one.association}/1/{last.attempt}/")
    assert len(queries.import_jobs(placed[2].association)) == 1
    executions = {name: status for name, status in stack.executions().items() if name.startswith(tuple(originals))}
    assert executions == dict.fromkeys(originals, "SUCCEEDED")  # and no restart of them


def test_what_cannot_be_asked_is_said(stack: RunningStack) -> None:
    for arguments, said in (
        ((), "name one association"),
        (("x", "--study", "1.2"), "name one association"),
        (("x", "--redrive", "--restart"), "choose one"),
        (("x", "--redrive", "--force"), "--restart --force"),
        (("--since", "yesterday"), "expected a time such as 2h"),
    ):
        ran = ahi_ingest(stack, "replay", *arguments)
        assert ran.returncode == 2
        assert said in " ".join(ran.stderr.replace("│", " ").split())
    unknown = ahi_ingest(stack, "replay", "20200101T000000Z-NOBODY-00000000", "--restart")
    assert unknown.returncode == 1
    assert "knows an association" in unknown.stdout
    unknown_study = ahi_ingest(stack, "replay", "--study", "1.2.3.4.5", "--dry-run")
    assert unknown_study.returncode == 1
    assert "The catalog knows no object of study 1.2.3.4.5" in unknown_study.stderr
