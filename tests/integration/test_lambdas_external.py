"""Objects that came without the receiver: S3's events, in whatever order and however often, become rows of the catalog."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.external import ExternalObject, remove, write
from lambdas.catalog.objects import IndexedObject
from lambdas.handlers import index_external
from lambdas.logic.external import parse_events
from tests.support.catalog import everything, rows
from tests.support.dicom import ct_series
from tests.support.indexed import INDEX_TABLES
from tests.support.lambdas import CONTEXT, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambdas.catalog.connection import Cursor
    from local.aws import Aws
    from tests.support.associations import Placer

pytestmark = pytest.mark.usefixtures("lambdas")


@pytest.fixture
def external(aws: Aws, bucket: str) -> External:
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return External(aws=aws, bucket=bucket)


@dataclass(kw_only=True)
class External:
    """A bucket with versions, and the events that S3 sends of it."""

    aws: Aws
    bucket: str
    sent: list[dict[str, Any]] = field(default_factory=list)

    def put(self, key: str, content: bytes, **changes: Any) -> dict[str, Any]:
        version = self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]
        return self.event(key, name="ObjectCreated:Put", versionId=version, size=len(content), **changes)

    def event(self, key: str, *, name: str, at: str = "2026-11-24T02:15:01.000Z", **of_object: Any) -> dict[str, Any]:
        """A record of an event; sequencers grow, and are not all of one length."""
        self.sent.append({})
        sequencer = f"0055AED6DCD90281E{len(self.sent):X}" + "0" * (len(self.sent) % 2)
        stored = {"key": quote_plus(key, safe="/"), "sequencer": sequencer} | of_object
        return {"eventName": name, "eventTime": at, "s3": {"bucket": {"name": self.bucket}, "object": stored}}


def _message(*records: dict[str, Any], body: str | None = None, number: int = 1) -> dict[str, Any]:
    return {
        "messageId": f"message-{number}",
        "receiptHandle": "handle",
        "body": json.dumps({"Records": records}) if body is None else body,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:external",
        "awsRegion": "us-east-1",
    }


def _handle(*messages: dict[str, Any]) -> list[str]:
    """The ids of the messages that failed."""
    answer = index_external.handler({"Records": list(messages)}, CONTEXT)
    return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]


def _renamed(content: bytes, description: str) -> bytes:
    read = dcmread(DicomBytesIO(content))
    read.SeriesDescription = description
    buffer = DicomBytesIO()
    read.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture
def ct(tmp_path: Path) -> bytes:
    return ct_series(tmp_path, 1)[0].read_bytes()


def test_an_object_under_external_is_indexed_with_the_version_that_was_read_and_not_imported_yet(
    catalog: Catalog, external: External, ct: bytes
) -> None:
    record = external.put("external/snow ball/ä+1.dcm", ct)
    assert _handle(_message(record)) == []
    [stored] = rows(catalog, "stored_object")
    assert stored["s3_key"] == "external/snow ball/ä+1.dcm"
    assert (stored["association"], stored["version_id"]) == ("external", record["s3"]["object"]["versionId"])
    read = dcmread(DicomBytesIO(ct))
    assert (stored["sop_instance_uid"], stored["size_bytes"]) == (read.SOPInstanceUID, len(ct))
    assert (stored["transfer_syntax_uid"], stored["digest"]) == ("1.2.840.10008.1.2.1", None)
    [study] = rows(catalog, "study_list")
    assert (study["study_instance_uid"], study["status"], study["instance_count"]) == (read.StudyInstanceUID, "NOT_IMPORTED", 1)
    assert [row["status"] for row in rows(catalog, "incomplete_studies")] == ["NOT_IMPORTED"]


@pytest.mark.parametrize("at", ["2026-11-24T02:15:01.000Z", "2026-11-24T02:15:00.000Z"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_overwrites_the_last_by_sequencer_counts_in_whatever_order_they_are_delivered(
    catalog: Catalog, external: External, ct: bytes, order: tuple[int, ...], at: str
) -> None:
    """The last one's time is the same, or earlier by S3's own clocks: the sequencer decides."""
    records = [external.put("external/a.dcm", _renamed(ct, text)) for text in ("first", "second")]
    records.append(external.put("external/a.dcm", _renamed(ct, "third"), at=at))
    for place in order:
        assert _handle(_message(records[place])) == []
    [series] = rows(catalog, "series")
    assert series["series_description"] == "third"
    [instance] = rows(catalog, "instance")
    versions = {row["object_hash"]: row["version_id"] for row in rows(catalog, "stored_object")}
    assert len(versions) == 3
    assert versions[instance["object_hash"]] == records[2]["s3"]["object"]["versionId"]


def test_an_event_that_comes_again_changes_nothing(catalog: Catalog, external: External, ct: bytes) -> None:
    records = [external.put("external/a.dcm", _renamed(ct, text)) for text in ("first", "second")]
    _handle(*[_message(record) for record in records])
    before = everything(catalog, INDEX_TABLES)
    _handle(_message(*records[::-1]))
    assert everything(catalog, INDEX_TABLES) == before


def test_each_message_fails_on_its_own_and_the_test_event_is_none(catalog: Catalog, external: External, ct: bytes) -> None:
    outside = external.put("instances/a.dcm", ct)
    messages = [
        _message(body=json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": external.bucket}), number=1),
        _message(body="no JSON", number=2),
        _message(external.put("external/a.dcm", ct), number=3),
        _message(outside, number=4),
        _message(external.event("external/b.dcm", name="ObjectCreated:Put", versionId="none", size=10), number=5),
        _message(external.put("external/README.txt", b"no DICOM"), number=6),
        _message(external.put("external/folder/", b""), number=7),
    ]
    assert _handle(*messages) == ["message-2", "message-4"]
    reasons = {row["s3_key"]: row["not_indexed_reason"] for row in rows(catalog, "stored_object")}
    assert reasons.keys() == {"external/a.dcm", "external/b.dcm", "external/README.txt"}
    assert reasons["external/a.dcm"] is None
    assert reasons["external/b.dcm"] == "S3 has no such object"
    assert "not DICOM" in str(reasons["external/README.txt"])


def test_a_catalog_that_is_away_is_waited_for_once_a_batch_and_every_message_comes_again(
    catalog: Catalog, external: External, ct: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def away() -> CatalogSettings:
        asked.append(1)
        return CatalogSettings(host="127.0.0.1", port=1, user="u", password="p", database="d", tls="off")

    messages = [_message(external.put(f"external/{number}.dcm", ct), number=number) for number in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(index_external, "catalog", lambda: Catalog(away))
        assert _handle(*messages) == ["message-0", "message-1", "message-2"]
    assert len(asked) == 1
    assert _handle(*messages) == []
    assert len(rows(catalog, "stored_object")) == 3


def test_an_object_of_the_receivers_is_not_replaced_by_an_older_external_one_and_by_a_later_one_it_is(
    aws: Aws, catalog: Catalog, external: External, placer: Placer, ct: bytes
) -> None:
    Run(aws=aws, placed=placer.place([ct])).all()  # at 2026-09-21, by SQS
    assert _handle(_message(external.put("external/old.dcm", _renamed(ct, "old"), at="2026-01-01T00:00:00.000Z"))) == []
    assert [row["status"] for row in rows(catalog, "study_list")] == ["COMPLETE"]
    assert [row["series_description"] for row in rows(catalog, "series")] == [None]
    assert _handle(_message(external.put("external/new.dcm", _renamed(ct, "new")))) == []
    assert [row["status"] for row in rows(catalog, "study_list")] == ["NOT_IMPORTED"]
    changed = [(row["association"], row["old_value"], row["new_value"]) for row in rows(catalog, "change_log")]
    assert ("external", None, "new") in changed


def test_what_was_deleted_keeps_its_rows_with_when(catalog: Catalog, external: External, ct: bytes) -> None:
    first, second = (external.put("external/a.dcm", _renamed(ct, text)) for text in ("first", "second"))
    other = external.put("external/b.dcm", ct)
    marker = external.event("external/a.dcm", name="ObjectRemoved:DeleteMarkerCreated", versionId="marker")
    third = external.put("external/a.dcm", _renamed(ct, "third"))
    deleted = external.event("external/b.dcm", name="ObjectRemoved:Delete", versionId=other["s3"]["object"]["versionId"])
    for record in (first, other, third, second, marker, deleted):
        assert _handle(_message(record)) == []
    removed = {row["version_id"]: row["removed_at"] is not None for row in rows(catalog, "stored_object")}
    assert {record["s3"]["object"]["versionId"]: True for record in (first, second, other)} | {
        third["s3"]["object"]["versionId"]: False
    } == removed


def test_in_a_bucket_without_versions_a_key_has_one_row_of_what_came_last(
    aws: Aws, catalog: Catalog, bucket: str, ct: bytes
) -> None:
    plain = External(aws=aws, bucket=bucket)
    records = []
    for text in ("first", "second"):
        content = _renamed(ct, text)
        aws.s3.put_object(Bucket=bucket, Key="external/a.dcm", Body=content)
        records.append(plain.event("external/a.dcm", name="ObjectCreated:Put", size=len(content)))
    assert _handle(_message(records[1])) == []
    assert _handle(_message(records[0])) == []
    assert [row["series_description"] for row in rows(catalog, "series")] == ["second"]
    [stored] = rows(catalog, "stored_object")
    assert (stored["version_id"], stored["not_indexed_reason"]) == (None, None)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("how", ["marker", "version", "without versions"])
def test_a_removal_removes_what_was_before_it_in_whatever_order_events_come(
    *, aws: Aws, catalog: Catalog, bucket: str, ct: bytes, how: str, place: int, arrival: tuple[int, ...]
) -> None:
    """Two creations of a key, and a removal before, between or after them, by S3's sequencer. S3 has both while events come."""
    if how != "without versions":
        aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    there, key = External(aws=aws, bucket=bucket), "external/a.dcm"
    removal_of = {"marker": "marker", "version": "first", "without versions": None}[how]
    events: list[dict[str, Any]] = []
    versions: dict[str, str | None] = {}
    for text in [*["first", "second"][:place], "removal", *["first", "second"][place:]]:
        if text == "removal":
            name = "ObjectRemoved:DeleteMarkerCreated" if how == "marker" else "ObjectRemoved:Delete"
            events.append(there.event(key, name=name, at="2026-11-24T03:00:00.000Z"))
            removal = events[-1]["s3"]["object"]
        else:
            content = _renamed(ct, text)
            version = aws.s3.put_object(Bucket=bucket, Key=key, Body=content).get("VersionId")
            of_object = {"versionId": version} if version else {}
            events.append(there.event(key, name="ObjectCreated:Put", size=len(content), **of_object))
            versions[text] = version
    if removal_of is not None:
        removal["versionId"] = versions.get(removal_of, removal_of)
    for number in arrival:
        assert _handle(_message(events[number])) == []
    removed = {row["version_id"]: str(row["removed_at"]) for row in rows(catalog, "stored_object")}
    at, there_still = "2026-11-24 03:00:00", "None"
    if how == "without versions":
        assert removed == {None: at if place == 2 else there_still}
    elif how == "marker":
        assert removed[versions["first"]] == (at if place >= 1 else there_still)
        assert removed[versions["second"]] == (at if place == 2 else there_still)
    else:
        assert removed[versions["first"]] == (at if place >= 1 else there_still)
        assert removed[versions["second"]] == there_still


def test_what_was_removed_before_its_own_event_came_has_a_row_that_says_so(
    aws: Aws, catalog: Catalog, external: External, ct: bytes
) -> None:
    created = external.put("external/a.dcm", ct)
    version = created["s3"]["object"]["versionId"]
    aws.s3.delete_object(Bucket=external.bucket, Key="external/a.dcm", VersionId=version)
    removed = external.event("external/a.dcm", name="ObjectRemoved:Delete", versionId=version)
    for record in (removed, removed, created, created):
        assert _handle(_message(record)) == []
    [stored] = rows(catalog, "stored_object")
    assert stored["not_indexed_reason"] == "S3 has no such object"
    assert stored["removed_at"] is not None


def test_a_row_that_was_removed_before_removals_were_kept_stays_removed(
    catalog: Catalog, external: External, ct: bytes
) -> None:
    old = external.put("external/a.dcm", ct)
    assert _handle(_message(old)) == []
    catalog.transaction(lambda cursor: cursor.execute("UPDATE stored_object SET removed_at = '2026-01-01'"))
    assert _handle(_message(old), _message(external.put("external/a.dcm", _renamed(ct, "again")))) == []
    removed = {row["version_id"]: row["removed_at"] is not None for row in rows(catalog, "stored_object")}
    assert sorted(removed.values()) == [False, True]
    assert removed[old["s3"]["object"]["versionId"]]


@pytest.mark.parametrize("first", ["created", "removed"])
def test_a_creation_and_its_removal_that_are_written_at_once_leave_it_removed(
    catalog: Catalog, external: External, ct: bytes, migrated_settings: CatalogSettings, first: str
) -> None:
    """One has written all of its own and not committed when the other begins, which then has to wait."""
    [created] = parse_events(json.dumps({"Records": [external.put("external/a.dcm", ct)]}))
    removed = replace(created.version, sequencer="F" * 64)
    listed = ExternalObject(version=created.version, object_order="1.1.a.1.1")
    indexed = IndexedObject(listed=listed, header_bytes=0, outcome="not read")
    acts: dict[str, Callable[[Cursor], None]] = {
        "created": lambda cursor: write(cursor, indexed, created.version),
        "removed": lambda cursor: remove(cursor, removed, hides_all=False),
    }
    act, other_act = acts.pop(first), acts.popitem()[1]
    waited = threading.Event()
    others = Catalog(lambda: migrated_settings, sleep=lambda _: waited.set())  # it sleeps when it has waited in vain

    def impatient(cursor: Cursor) -> None:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        other_act(cursor)

    other = threading.Thread(target=others.transaction, args=(impatient,))

    def overlapping(cursor: Cursor) -> None:
        act(cursor)
        other.start()
        assert waited.wait(20), "the other does not wait for what this has written"

    with closing(others):
        catalog.transaction(overlapping)
        other.join()
    assert [row["removed_at"] is not None for row in rows(catalog, "stored_object")] == [True]


def test_a_default_issuer_of_external_objects_counts(
    catalog: Catalog, external: External, ct: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lambdas.handlers import environment

    monkeypatch.setenv("DEFAULT_ISSUERS", '{"external": "ARCHIVE"}')
    environment.default_issuers.cache_clear()
    try:
        assert _handle(_message(external.put("external/a.dcm", ct))) == []
    finally:
        environment.default_issuers.cache_clear()
    assert [row["effective_issuer"] for row in rows(catalog, "patient")] == ["ARCHIVE"]


def test_the_events_that_s3_itself_sends_are_understood(aws: Aws, catalog: Catalog, external: External, ct: bytes) -> None:
    queue = aws.sqs.create_queue(QueueName=f"{external.bucket}-events")["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    under_external: Any = events | {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "external/"}]}}}
    aws.s3.put_bucket_notification_configuration(
        Bucket=external.bucket, NotificationConfiguration={"QueueConfigurations": [under_external]}
    )
    key = "external/a b/ü.dcm"
    aws.s3.put_object(Bucket=external.bucket, Key=key, Body=ct)
    aws.s3.put_object(Bucket=external.bucket, Key=key, Body=_renamed(ct, "again"))
    aws.s3.delete_object(Bucket=external.bucket, Key=key)
    bodies: list[str] = []
    while len(bodies) < 4:
        received = aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", [])
        assert received, "S3 sent fewer events than there were"
        bodies += [one["Body"] for one in received]
    assert sum("s3:TestEvent" in body for body in bodies) == 1
    assert _handle(*[_message(body=body, number=number) for number, body in enumerate(bodies)]) == []
    assert [row["series_description"] for row in rows(catalog, "series")] == ["again"]
    stored = rows(catalog, "stored_object")
    assert {row["s3_key"] for row in stored} == {key}
    assert len(stored) == len([row for row in stored if row["removed_at"] and row["version_id"]]) == 2
