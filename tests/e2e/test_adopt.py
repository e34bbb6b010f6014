"""`ahi-ingest adopt`: objects that came without the receiver, and associations without a manifest."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from console import stack as stacks
from console.adopting import Adopting
from console.adoption import Adoption
from contract.association import new_association_id
from contract.keys import instance_key, manifest_key, quarantine_key
from contract.manifest import AssociationManifest
from contract.strict import from_json
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, connect
from tests.support.console import ahi_ingest
from tests.support.dicom import ct_series
from tests.support.pipeline import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def queries(stack: RunningStack) -> Iterator[Queries]:
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as found:
        yield found


@pytest.fixture
def bucket(stack: RunningStack) -> str:
    return str(stack.endpoints["bucket"])


@pytest.fixture
def prefix() -> str:
    return f"external/{uuid4().hex[:8]}/"


def put(stack: RunningStack, key: str, body: bytes) -> None:
    stack.aws.s3.put_object(Bucket=stack.endpoints["bucket"], Key=key, Body=body)


def keys(stack: RunningStack, prefix: str) -> set[str]:
    listed = stack.aws.s3.list_objects_v2(Bucket=stack.endpoints["bucket"], Prefix=prefix).get("Contents", [])
    return {item["Key"] for item in listed}


def adopted_associations(stack: RunningStack, prefix: str) -> list[AssociationManifest]:
    """The plans that are made of objects below a prefix."""
    raws = [
        stack.aws.s3.get_object(Bucket=stack.endpoints["bucket"], Key=key)["Body"].read() for key in keys(stack, "adopted/")
    ]
    plans = [from_json(Adoption, raw) for raw in raws]
    return [plan.manifest for plan in plans if plan.sources[0].key.startswith(prefix)]


def wait_for(queries: Queries, association: str, status: str) -> None:
    def reached() -> bool:
        row = queries.association(association)
        return row is not None and row.status == status

    wait_until(reached, f"{association} {status}")


def test_objects_are_copied_listed_and_ingested_and_a_repeat_takes_what_came_since(
    stack: RunningStack, queries: Queries, bucket: str, prefix: str, tmp_path: Path
) -> None:
    files = [path.read_bytes() for path in ct_series(tmp_path, 3)]
    for number, file in enumerate([files[0], files[1], files[0]]):
        put(stack, f"{prefix}folder/{number}", file)
    first = ahi_ingest(stack, "adopt", f"s3://{bucket}/{prefix}")
    assert first.returncode == 0
    assert "2 object(s), 0 quarantined, 1 repeated" in first.stdout
    (manifest,) = adopted_associations(stack, prefix)
    wait_for(queries, manifest.association, "COMPLETE")
    rows = queries.stored_objects(manifest.association)
    assert [row.import_status for row in rows] == ["IMPORTED", "IMPORTED"]
    assert {stack.aws.s3.get_object(Bucket=bucket, Key=row.s3_key)["Body"].read() for row in rows} == set(files[:2])
    assert len(keys(stack, prefix)) == 3  # they are left alone

    put(stack, f"{prefix}folder/3", files[2])
    put(stack, f"{prefix}README.txt", b"no DICOM")
    second = ahi_ingest(stack, "adopt", f"s3://{bucket}/{prefix}")
    assert "1 object(s), 1 quarantined, 0 repeated" in second.stdout
    (later,) = [one for one in adopted_associations(stack, prefix) if one.association != manifest.association]
    wait_for(queries, later.association, "INCOMPLETE")
    (held,) = queries.stored_objects(later.association, only_failed=True)
    assert "no DICM prefix" in str(held.quarantine_reason)
    third = ahi_ingest(stack, "adopt", f"s3://{bucket}/{prefix}")
    assert (third.returncode, third.stdout.strip()) == (0, "Nothing there that was not adopted before.")


def test_what_broke_off_among_the_copies_is_finished_with_the_same_keys(
    stack: RunningStack, queries: Queries, bucket: str, prefix: str, tmp_path: Path
) -> None:
    for number, path in enumerate(ct_series(tmp_path, 3)):
        put(stack, f"{prefix}{number}", path.read_bytes())
    at = stacks.find(stack.state)
    adopting = Adopting(at, queries, edge="adopted", quiet_hours=0)
    (plan,) = adopting.plans(bucket, prefix)
    assert isinstance(plan, Adoption)
    put(stack, plan.sources[0].target, b"as an earlier run has copied it")
    finished = ahi_ingest(stack, "adopt", f"s3://{bucket}/{prefix}")
    assert finished.returncode == 0
    assert plan.manifest.association in finished.stdout
    assert len(adopted_associations(stack, prefix)) == 1
    folder = f"instances/adopted/{plan.manifest.association}/"
    assert keys(stack, folder) == {one.target for one in plan.sources}
    assert (
        stack.aws.s3.get_object(Bucket=bucket, Key=plan.sources[0].target)["Body"].read() == b"as an earlier run has copied it"
    )
    manifest = stack.aws.s3.get_object(Bucket=bucket, Key=manifest_key("adopted", plan.manifest.association))["Body"].read()
    assert from_json(AssociationManifest, manifest) == plan.manifest


def test_an_object_that_changed_since_it_was_read_is_not_adopted_and_said(
    stack: RunningStack, queries: Queries, bucket: str, prefix: str, tmp_path: Path
) -> None:
    one, other = (path.read_bytes() for path in ct_series(tmp_path, 2))
    put(stack, f"{prefix}1", one)
    (plan,) = Adopting(stacks.find(stack.state), queries, edge="adopted", quiet_hours=0).plans(bucket, prefix)
    assert isinstance(plan, Adoption)
    put(stack, f"{prefix}1", other)
    ran = ahi_ingest(stack, "adopt", f"s3://{bucket}/{prefix}")
    assert ran.returncode == 1
    assert "are not any more as they were read" in " ".join(ran.stdout.split())
    assert keys(stack, f"manifests/adopted/{plan.manifest.association}/") == set()


def test_an_association_without_a_manifest_is_adopted_where_it_stands_once_it_is_quiet(
    stack: RunningStack, queries: Queries, bucket: str, tmp_path: Path
) -> None:
    edge, association = f"lost-{uuid4().hex[:8]}", new_association_id("LOST_EDGE", datetime.now(UTC))
    for number, path in enumerate(ct_series(tmp_path, 2), 1):
        key = instance_key(
            edge=edge, association=association, part=1, study_uid="1.2", series_uid="1.2.3", sop_uid=f"1.2.3.{number}"
        )
        put(stack, key, path.read_bytes())
    uri = f"s3://{bucket}/instances/{edge}/"
    early = ahi_ingest(stack, "adopt", uri)
    assert early.returncode == 1
    assert "its edge may still be sending" in early.stdout
    assert keys(stack, f"manifests/{edge}/") == set()
    adopted = ahi_ingest(stack, "adopt", uri, "--quiet-hours", "0")
    assert adopted.returncode == 0
    wait_for(queries, association, "COMPLETE")
    row = queries.association(association)
    assert row is not None
    assert (row.edge, row.ending, row.objects) == (edge, "recovered", 2)
    again = ahi_ingest(stack, "adopt", uri, "--quiet-hours", "0")
    assert again.stdout.strip() == "Nothing there that was not adopted before."
    named = ahi_ingest(stack, "adopt", f"{uri}{association}/1/")
    assert "has a manifest" in named.stdout


def test_objects_that_a_lost_edge_had_quarantined_are_adopted_with_their_association_and_on_their_own(
    stack: RunningStack, queries: Queries, bucket: str, tmp_path: Path
) -> None:
    edge = f"lost-{uuid4().hex[:8]}"
    both, held_alone = (new_association_id(name, datetime.now(UTC)) for name in ("BOTH", "HELD_ALONE"))
    (path,) = ct_series(tmp_path, 1)
    place = instance_key(edge=edge, association=both, part=1, study_uid="1.2", series_uid="1.2.3", sop_uid="1.2.3.1")
    put(stack, place, path.read_bytes())
    put(stack, quarantine_key(edge, both, "000002-1.2.3.2.dcm"), b"no DICOM")
    put(stack, quarantine_key(edge, held_alone, "000001-1.2.3.3.dcm"), path.read_bytes())
    adopted = ahi_ingest(stack, "adopt", f"s3://{bucket}/instances/{edge}/", "--quiet-hours", "0")
    assert adopted.returncode == 0
    for association, objects in ((both, 1), (held_alone, 0)):
        wait_for(queries, association, "INCOMPLETE")
        row = queries.association(association)
        assert row is not None
        assert (row.objects, row.quarantined) == (objects, 1)
    [held] = [one for one in queries.stored_objects(held_alone) if one.quarantine_reason]
    assert held.quarantine_reason == "quarantined by its edge, which was lost before it said why"


def test_a_place_that_is_no_prefix_is_refused(stack: RunningStack) -> None:
    for uri in ("external/a/", "s3://bucket", "s3://bucket/external/a"):
        ran = ahi_ingest(stack, "adopt", uri)
        assert ran.returncode == 2
        assert "with a slash at its end" in " ".join(ran.stderr.replace("│", " ").split())
