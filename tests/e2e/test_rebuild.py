"""`ahi-ingest rebuild`: the catalog again, from what is kept elsewhere, held against the one that there was."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pydicom
import pymysql
import pytest

from contract.keys import instances_prefix
from lambdas.catalog import Catalog, CatalogSettings, orphans
from lambdas.catalog.queries import Queries, connect
from tests.support.associations import PlacedAssociation, Placer
from tests.support.catalog import TABLES, everything
from tests.support.console import ahi_ingest
from tests.support.dicom import ct_series
from tests.support.healthimaging import set_faults
from tests.support.pipeline import announce, ct_small_with_uids_of_their_own, wait_until
from tests.support.stack import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPARED = tuple(table for table in TABLES if table != "orphan")  # the sweep finds those anew


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own: every row of it is compared."""
    with RunningStack.start(tmp_path_factory.mktemp("rebuilt")) as running:
        yield running


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> CatalogSettings:
    return CatalogSettings(**stack.endpoints["mysql"], tls="off")


@pytest.fixture(scope="module")
def queries(settings: CatalogSettings) -> Iterator[Queries]:
    with closing(connect(settings)) as found:
        yield found


def new_database(settings: CatalogSettings) -> CatalogSettings:
    name = f"{settings.database}_rebuilt_{uuid4().hex[:8]}"
    with pymysql.connect(host=settings.host, port=settings.port, user=settings.user, password=settings.password) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return replace(settings, database=name)


def rows_of(settings: CatalogSettings) -> dict[str, list[dict[str, Any]]]:
    with closing(Catalog(lambda: settings)) as catalog:
        return everything(catalog, COMPARED)


def changed(file: bytes, **attributes: str) -> bytes:
    data = pydicom.dcmread(BytesIO(file))
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    written = BytesIO()
    data.save_as(written)
    return written.getvalue()


@pytest.fixture(scope="module")
def past(stack: RunningStack, queries: Queries, tmp_path_factory: pytest.TempPathFactory) -> list[PlacedAssociation]:
    """What a hospital's month brings: corrections, refused objects, foreign ones, failed jobs, retries and replays."""
    placer = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local")

    def ends(placed: PlacedAssociation, status: str, *, redrives: int = 0) -> None:
        def ended() -> bool:
            row = queries.association(placed.association)
            return row is not None and (row.status, row.redrive_count) == (status, redrives)

        wait_until(ended, f"{placed.association} {status}")

    files = [path.read_bytes() for path in ct_series(tmp_path_factory.mktemp("study"), 3)]
    corrected = changed(files[0], PatientName="Corrected^Name")
    for parts in ([files], [[corrected, files[1]]], [files[:1], [changed(files[0], ImageComments="again")]]):
        announce(stack, placer.place(*parts, supersedes=True).message)
        ends(placer.placed[-1], "COMPLETE")

    set_faults(stack.healthimaging, failing_jobs=1)
    objects = ct_small_with_uids_of_their_own(2)
    redriven = placer.place(objects)
    announce(stack, redriven.message)
    ends(redriven, "FAILED")

    refused = placer.place([*ct_small_with_uids_of_their_own(1), b"this is no DICOM at all"], quarantined=[b"unreadable"])
    superseding = placer.place([changed(objects[0], ImageComments="newer")])
    foreign, retried = placer.place(ct_small_with_uids_of_their_own(1)), placer.place(ct_small_with_uids_of_their_own(2))
    stray = f"{instances_prefix('local', foreign.association, 1)}stray.dcm"
    stack.aws.s3.put_object(Bucket=foreign.bucket, Key=stray, Body=ct_small_with_uids_of_their_own(1)[0])
    name = retried.entries[0].key.rpartition("/")[2]
    set_faults(stack.healthimaging, keys=[{"suffix": name, "error": "server", "times": 1}])
    for one in (refused, superseding, foreign, retried):
        announce(stack, one.message)
    for one, status in (
        (refused, "INCOMPLETE"),
        (superseding, "COMPLETE"),
        (foreign, "LEDGER_MISMATCH"),
        (retried, "COMPLETE"),
    ):
        ends(one, status)
    set_faults(stack.healthimaging)
    for one, asked in ((redriven, "--redrive"), (refused, "--failed-only")):
        ahi_ingest(stack, "replay", one.association, asked)
    ends(redriven, "COMPLETE", redrives=1)
    ends(refused, "INCOMPLETE", redrives=1)
    assert [row.import_status for row in queries.stored_objects(redriven.association)] == ["SUPERSEDED", "IMPORTED"]
    assert ahi_ingest(stack, "replay", redriven.association, "--restart", "--force", "--wait").returncode == 0
    assert {row.import_status for row in queries.stored_objects(redriven.association)} == {"IMPORTED"}
    ends(redriven, "COMPLETE")
    copies = stack.aws.s3.list_objects_v2(Bucket=redriven.bucket, Prefix="retries/")["Contents"]
    for copy in copies:  # after a month
        stack.aws.s3.delete_object(Bucket=redriven.bucket, Key=copy["Key"])
    return placer.placed


def test_a_catalog_is_rebuilt_row_by_row_as_it_was(
    stack: RunningStack, settings: CatalogSettings, past: list[PlacedAssociation]
) -> None:
    target = new_database(settings)
    ran = ahi_ingest(stack, "rebuild", "--into", target.database, "--at-once", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"Rebuilt of {len(past)} association(s) and 13 import(s)." in ran.stdout
    original, rebuilt = rows_of(settings), rows_of(target)
    for table in COMPARED:
        assert original[table] == rebuilt[table], table
    assert all(original[table] for table in ("change_log", "staged_copy", "image_set"))


def test_many_at_once_give_the_same_rows_and_a_second_run_changes_none(
    stack: RunningStack, settings: CatalogSettings, past: list[PlacedAssociation]
) -> None:
    target = new_database(settings)
    assert ahi_ingest(stack, "rebuild", "--into", target.database).returncode == 0
    refused = ahi_ingest(stack, "rebuild", "--into", target.database)
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    original, rebuilt = rows_of(settings), rows_of(target)
    for table in set(COMPARED) - {"change_log"}:
        assert original[table] == rebuilt[table], table
    with closing(Catalog(lambda: target)) as catalog:
        assert catalog.transaction(orphans.untold) == []
    assert ahi_ingest(stack, "rebuild", "--into", target.database, "--resume").returncode == 0
    assert rows_of(target) == rebuilt


def test_without_what_step_functions_has_forgotten_the_objects_are_where_they_were(
    stack: RunningStack, settings: CatalogSettings, past: list[PlacedAssociation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.history._runs", lambda *_: [])
    target = new_database(settings)
    assert ahi_ingest(stack, "rebuild", "--into", target.database).returncode == 0
    forgotten = {"association": {"sent_at_ms", "redrive_count", "execution_arn"}, "import_job": {"execution_arn"}}
    ordered_by = {"object_order", "parent_order", "described_order"}  # by sent_at_ms, a moment earlier now
    original, rebuilt = rows_of(settings), rows_of(target)
    for table in set(COMPARED) - {"change_log"}:
        left_out = ordered_by | forgotten.get(table, set())
        before, after = (
            sorted(repr(sorted((name, row[name]) for name in row.keys() - left_out)) for row in rows[table])
            for rows in (original, rebuilt)
        )
        assert before == after, table


def test_a_manifest_that_cannot_be_read_is_told_of_and_the_others_are_rebuilt(
    stack: RunningStack, settings: CatalogSettings, past: list[PlacedAssociation]
) -> None:
    target = new_database(settings)
    part = f"manifests/local/{past[0].association}/1.json"
    kept = stack.aws.s3.get_object(Bucket=past[0].bucket, Key=part)["Body"].read()
    stack.aws.s3.put_object(Bucket=past[0].bucket, Key=part, Body=json.dumps({"entries": 1}).encode())
    try:
        ran = ahi_ingest(stack, "rebuild", "--into", target.database)
    finally:
        stack.aws.s3.put_object(Bucket=past[0].bucket, Key=part, Body=kept)
    assert ran.returncode == 1
    assert "the part's manifest in S3: expected a JSON object with entries" in ran.stdout
    with closing(connect(target)) as rebuilt:
        statuses = {row.association: row.status for row in rebuilt.associations()}
    assert [statuses[one.association] for one in past[1:3]] == ["COMPLETE", "COMPLETE"]
