"""`ahi-ingest verify` and `queues`: what the catalog says, held against HealthImaging and SQS themselves."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.queries import connect
from tests.support.associations import Placer
from tests.support.console import ahi_ingest
from tests.support.dicom import ct_series
from tests.support.pipeline import announce, wait_until

if TYPE_CHECKING:
    from tests.support.associations import PlacedAssociation
    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> CatalogSettings:
    return CatalogSettings(**stack.endpoints["mysql"], tls="off")


@pytest.fixture(scope="module")
def placed(stack: RunningStack, settings: CatalogSettings, tmp_path_factory: pytest.TempPathFactory) -> PlacedAssociation:
    """An association of a study of its own, of three objects, that is imported."""
    files = [path.read_bytes() for path in ct_series(tmp_path_factory.mktemp("study"), 3)]
    placed = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local").place(files)
    announce(stack, placed.message)

    def complete() -> bool:
        row = queries.association(placed.association)
        return row is not None and row.status == "COMPLETE"

    with closing(connect(settings)) as queries:
        wait_until(complete, "COMPLETE")
    return placed


def change(settings: CatalogSettings, statement: str, *arguments: object) -> None:
    with closing(Catalog(lambda: settings)) as catalog:
        assert catalog.transaction(lambda cursor: cursor.execute(statement, arguments)) == 1


def test_a_study_that_is_as_the_catalog_says_is_told_so(stack: RunningStack, placed: PlacedAssociation) -> None:
    study = placed.entries[0].study_instance_uid
    for asked in ((placed.association,), ("--study", study)):
        verified = ahi_ingest(stack, "verify", *asked)
        assert verified.returncode == 0
        assert verified.stdout.split()[-5:] == [study, "3", "0", "1", "0"]


def test_each_kind_of_difference_is_told_with_its_object(
    stack: RunningStack, placed: PlacedAssociation, settings: CatalogSettings
) -> None:
    first, second, third = placed.entries  # what follows leaves the catalog in disorder: the last test of these
    made_up, gone = "2.25.4711", "0" * 32
    change(settings, "UPDATE stored_object SET sop_instance_uid = %s WHERE s3_key = %s", made_up, first.key)
    change(settings, "UPDATE stored_object SET image_set_id = NULL, import_status = NULL WHERE s3_key = %s", second.key)
    change(settings, "UPDATE stored_object SET image_set_id = %s WHERE s3_key = %s", gone, third.key)
    study = first.study_instance_uid
    change(settings, "UPDATE image_set SET image_set_version = 7 WHERE study_instance_uid = %s", study)
    verified = ahi_ingest(stack, "verify", placed.association)
    assert verified.returncode == 1
    told = " ".join(verified.stdout.split())
    assert f"{study} 3 1 2 6" in told
    assert f"{made_up} in the catalog, and not in HealthImaging" in told
    for entry in placed.entries:
        assert f"{entry.sop_instance_uid} in HealthImaging, and not in the catalog" in told
    assert f"{gone} HealthImaging has no such image set" in told
    assert "the catalog has version 7, HealthImaging version 1" in told

    change(settings, "DELETE FROM image_set WHERE study_instance_uid = %s", study)
    change(settings, "UPDATE stored_object SET image_set_id = NULL WHERE s3_key = %s", first.key)
    unknown = ahi_ingest(stack, "verify", "--study", study)
    assert "the catalog does not know this image set of 3 instance(s)" in unknown.stdout


def test_an_association_without_objects_is_told_of(stack: RunningStack) -> None:
    unknown = ahi_ingest(stack, "verify", "20200101T000000Z-NOBODY-00000000")
    assert unknown.returncode == 1
    assert "The catalog knows no object of an association" in unknown.stderr


def test_the_queues_are_shown_with_their_letters_which_are_redriven(stack: RunningStack) -> None:
    url = stack.endpoints["queues"]["inbound_dlq"]
    name = url.rpartition("/")[2]
    stack.aws.sqs.send_message(QueueUrl=url, MessageBody="no JSON")
    shown = ahi_ingest(stack, "queues")
    assert shown.returncode == 0
    assert "it is nothing that the pipeline sends" in shown.stdout
    redriven = ahi_ingest(stack, "queues", "--redrive", name)
    assert redriven.returncode == 1
    assert "stays: nobody can deal with it" in redriven.stdout
    stack.aws.sqs.purge_queue(QueueUrl=url)
    assert ahi_ingest(stack, "queues", "--redrive", name).returncode == 0
    unknown = ahi_ingest(stack, "queues", "--redrive", "other")
    assert unknown.returncode == 1
    assert "There is no queue other" in unknown.stderr
