"""From the wire to the image set, on the deployed template: what the product promises, one test each."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import warnings
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING

import pydicom
import pytest

from bench.programs import dcmtk
from contract.keys import instances_prefix
from contract.manifest import AssociationManifest
from contract.message import InboundMessage
from contract.strict import from_json, to_json
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, StoredObject, connect
from receiver.dicom.sender import SendResult, send
from receiver.part10 import read_head
from tests.support.associations import Placer
from tests.support.dicom import BUNDLED, bundled_files, ct_series
from tests.support.pipeline import WITHIN_SECONDS, announce, ct_small_with_uids_of_their_own, ended, sending, wait_until
from tests.support.wire import RecordingProxy, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def catalog(stack: RunningStack) -> Iterator[Queries]:
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as queries:
        yield queries


def digest(data_set: bytes) -> str:
    return hashlib.sha256(data_set).hexdigest()


def in_s3(stack: RunningStack, row: StoredObject) -> tuple[str, str]:
    """(SOP Instance UID, digest of the data set) of the object that the ledger's row points at."""
    body = stack.aws.s3.get_object(Bucket=stack.endpoints["bucket"], Key=row.s3_key)["Body"].read()
    head = read_head(BytesIO(body))
    return head.sop_instance_uid, digest(body[head.data_set_offset :])


def sop_instance_uid(stack: RunningStack, row: StoredObject) -> str:
    """The data set's own UID, where it has one; DCMTK sends some damaged objects under another."""
    body = stack.aws.s3.get_object(Bucket=stack.endpoints["bucket"], Key=row.s3_key)["Body"].read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(BytesIO(body), specific_tags=["SOPInstanceUID"])
    return str(data_set.get("SOPInstanceUID") or row.sop_instance_uid)


def check_against_the_wire(stack: RunningStack, catalog: Queries, acknowledged: list[Stored], calling_ae: str) -> None:
    """Each acknowledged object is in S3 byte for byte and has one ledger row, which says how it ended.

    That is an import result and an instance in the catalog, or quarantine: of what is cut, or not what its command named.
    """
    on_the_wire = {(one.sop_instance_uid, digest(one.data_set)) for one in acknowledged}
    (association,) = ended(catalog, calling_ae)
    rows = catalog.stored_objects(association.association)
    assert sorted(in_s3(stack, row) for row in rows) == sorted(on_the_wire)
    quarantined = [row for row in rows if row.quarantine_reason]
    rows = [row for row in rows if not row.quarantine_reason]
    assert sorted((row.sop_instance_uid, row.digest) for row in rows) == sorted(
        on_the_wire - {in_s3(stack, row) for row in quarantined}
    )
    assert (association.objects, association.quarantined) == (len(rows), len(quarantined))
    assert 0 < len(quarantined) < len(rows) // 10
    assert all(row.s3_key.startswith(f"quarantine/{association.edge}/") for row in quarantined)
    assert association.identical_repeats == len(acknowledged) - len(on_the_wire)
    assert {row.import_status for row in rows} <= {"IMPORTED", "FAILED"}
    assert all(row.image_set_id for row in rows if row.import_status == "IMPORTED")
    assert all(row.import_error for row in rows if row.import_status == "FAILED")
    in_the_catalog = instances(stack)
    assert {sop_instance_uid(stack, row) for row in rows if not row.not_indexed_reason} <= in_the_catalog
    assert len([row for row in rows if row.not_indexed_reason]) <= len(rows) // 10
    counts = catalog.ledger(association.association)
    assert counts is not None
    assert counts.balanced


def instances(stack: RunningStack) -> set[str]:
    mysql = stack.endpoints["mysql"]
    import pymysql

    with pymysql.connect(**{name: mysql[name] for name in ("host", "port", "user", "password", "database")}) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT sop_instance_uid FROM instance")
        return {uid for (uid,) in cursor.fetchall()}


def test_every_bundled_object_that_dcmsend_sends_is_kept_byte_for_byte_and_imported(
    stack: RunningStack, catalog: Queries
) -> None:
    with RecordingProxy(stack.dicom_address[1]) as proxy:
        subprocess.run(
            [
                *(dcmtk("dcmsend"), "--quiet", "--decompress-never", "--no-uid-checks", "--no-halt", "+sd", "+r"),
                *("-aet", "DCMSEND", "127.0.0.1", str(proxy.port), str(BUNDLED / "test_files")),
            ],
            env={**os.environ, "TCP_NODELAY": "1"},
            timeout=WITHIN_SECONDS,
            check=False,  # 1 when some of the files were none that it could send
        )
        assert len(proxy.acknowledged) >= 100
        assert [one.status for one in proxy.stored if one.status != 0] == []
        check_against_the_wire(stack, catalog, proxy.acknowledged, "DCMSEND")


def test_every_bundled_object_that_we_send_is_kept_byte_for_byte_and_imported(stack: RunningStack, catalog: Queries) -> None:
    files = bundled_files()
    with RecordingProxy(stack.dicom_address[1]) as proxy:
        results = list(send(files, host="127.0.0.1", port=proxy.port, calling_ae="BUNDLED", called_ae="ANY"))
        refused = [result for result in results if result.status != 0]
        assert {result.reason for result in refused} <= {"refused by the peer: abstract syntax (SOP class) not supported"}
        assert {dcm_class(result.path) for result in refused} <= {"Media Storage Directory Storage"}
        in_the_files = sorted(digest(path.read_bytes()[read_offset(path) :]) for path in files)
        assert sorted(digest(one.data_set) for one in proxy.acknowledged) == sorted(
            set_minus(in_the_files, [digest(r.path.read_bytes()[read_offset(r.path) :]) for r in refused])
        )
        check_against_the_wire(stack, catalog, proxy.acknowledged, "BUNDLED")


def dcm_class(path: Path) -> str:
    with path.open("rb") as file:
        return pydicom.uid.UID(read_head(file).sop_class_uid).name


def read_offset(path: Path) -> int:
    with path.open("rb") as file:
        return read_head(file).data_set_offset


def set_minus(all_of_them: list[str], without: list[str]) -> list[str]:
    left = list(all_of_them)
    for one in without:
        left.remove(one)
    return left


def test_four_associations_at_once_are_four_executions_with_every_object_recorded(
    stack: RunningStack, catalog: Queries, tmp_path: Path
) -> None:
    series = [ct_series(tmp_path / str(number), 100, patient_id=f"FOUR-{number}") for number in range(4)]
    results: list[SendResult] = []
    threads = [
        threading.Thread(target=lambda paths=paths: results.extend(list(sending(stack, paths, "FOUR")))) for paths in series
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.status for result in results] == [0] * 400
    associations = ended(catalog, "FOUR", 4)
    executions = stack.executions()
    for association in associations:
        assert association.status == "COMPLETE"
        assert executions[association.association] == "SUCCEEDED"
        rows = catalog.stored_objects(association.association)
        assert len(rows) == 100
        assert {row.import_status for row in rows} == {"IMPORTED"}
        assert len({row.image_set_id for row in rows}) == 1


def test_after_kill_9_of_the_receiver_every_acknowledged_object_arrives(
    stack: RunningStack, catalog: Queries, tmp_path: Path
) -> None:
    paths = ct_series(tmp_path, 300, patient_id="KILLED")
    acknowledged: set[str] = set()
    for number, result in enumerate(sending(stack, paths, "KILLED")):
        if result.status == 0:
            acknowledged.add(str(pydicom.dcmread(result.path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID))
        if number == 120:
            stack.kill_program("-m receiver")
    assert 120 <= len(acknowledged) < 300

    def arrived() -> set[str | None]:
        associations = [row for row in catalog.associations() if row.calling_ae == "KILLED"]
        return {
            row.sop_instance_uid
            for association in associations
            for row in catalog.stored_objects(association.association)
            if row.import_status == "IMPORTED"
        }

    wait_until(lambda: acknowledged <= arrived(), "all that was acknowledged imported")
    assert "recovered" in {row.ending for row in catalog.associations() if row.calling_ae == "KILLED"}


def test_a_message_delivered_three_times_is_one_execution_and_one_set_of_rows(stack: RunningStack, catalog: Queries) -> None:
    placed = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local").place(
        [(BUNDLED / "test_files" / "CT_small.dcm").read_bytes(), (BUNDLED / "test_files" / "MR_small.dcm").read_bytes()]
    )
    for _ in range(3):
        stack.aws.sqs.send_message(QueueUrl=stack.endpoints["queues"]["inbound"], MessageBody=placed.message.decode())
    wait_until(lambda: stack.executions().get(placed.association) == "SUCCEEDED", "the execution succeeded")
    wait_until(lambda: queue_is_empty(stack, "inbound"), "every delivery taken")
    assert [name for name in stack.executions() if name.startswith(placed.association)] == [placed.association]
    assert len(catalog.stored_objects(placed.association)) == 2
    assert len(catalog.import_jobs(placed.association)) == 1


def test_of_five_messages_the_malformed_one_alone_ends_in_the_dead_letter_queue(stack: RunningStack, catalog: Queries) -> None:
    placer = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local")
    files = ct_small_with_uids_of_their_own(4)
    placed = [placer.place([file]) for file in files]
    malformed = json.dumps({**json.loads(placed[0].message), "version": 99})
    bodies = [placed[0].message.decode(), malformed, *(one.message.decode() for one in placed[1:])]
    stack.aws.sqs.send_message_batch(
        QueueUrl=stack.endpoints["queues"]["inbound"],
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )
    names = {one.association for one in placed}
    wait_until(lambda: {stack.executions().get(name) for name in names} == {"SUCCEEDED"}, "each of the four succeeded")
    dead: list[str] = []

    def received() -> bool:
        answer = stack.aws.sqs.receive_message(QueueUrl=stack.endpoints["queues"]["inbound_dlq"], MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            dead.append(message["Body"])
            stack.aws.sqs.delete_message(
                QueueUrl=stack.endpoints["queues"]["inbound_dlq"], ReceiptHandle=message["ReceiptHandle"]
            )
        return bool(dead)

    wait_until(received, "in the dead letter queue")
    assert dead == [malformed]
    wait_until(lambda: queue_is_empty(stack, "inbound"), "the queue empty")


def queue_is_empty(stack: RunningStack, queue: str) -> bool:
    answer = stack.aws.sqs.get_queue_attributes(QueueUrl=stack.endpoints["queues"][queue], AttributeNames=["All"])
    waiting, taken = (answer["Attributes"][f"ApproximateNumberOfMessages{which}"] for which in ("", "NotVisible"))  # type: ignore[index]  # made of literals
    return waiting == taken == "0"


def test_the_same_study_three_times_is_three_balanced_ledgers_and_one_set_of_instances(
    stack: RunningStack, catalog: Queries, tmp_path: Path
) -> None:
    paths = ct_series(tmp_path, 10, patient_id="THRICE")
    study = str(pydicom.dcmread(paths[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    for time_sent in range(3):
        if time_sent == 2:
            changed = pydicom.dcmread(paths[4])
            changed.ImageComments = "windowed again"
            changed.save_as(paths[4])
        assert {result.status for result in list(sending(stack, paths, "THRICE"))} == {0}
        ended(catalog, "THRICE", time_sent + 1)
    associations = ended(catalog, "THRICE", 3)
    for association in associations:
        assert association.status == "COMPLETE"
        counts = catalog.ledger(association.association)
        assert counts is not None
        assert counts.balanced
        assert (counts.objects, counts.imported, counts.indexed) == (10, 10, 10)
    (line,) = [row for row in catalog.study_list(1000) if row.study_instance_uid == study]
    assert (line.series_count, line.instance_count, line.imported_count) == (1, 10, 10)
    assert line.status == "COMPLETE"
    (image_set,) = catalog.image_sets(associations[2].association)
    assert image_set.image_set_version == 3


def test_a_foreign_object_fails_the_execution_by_name_and_the_others_are_recorded(
    stack: RunningStack, catalog: Queries
) -> None:
    placer = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local")
    placed = placer.place(ct_small_with_uids_of_their_own(2))
    stray = f"{instances_prefix('local', placed.association, 1)}stray.dcm"
    stack.aws.s3.put_object(Bucket=placed.bucket, Key=stray, Body=ct_small_with_uids_of_their_own(1)[0])
    announce(stack, placed.message)
    assert failed_as(stack, placed.association) == "Ingest.LedgerMismatch"
    rows = {row.s3_key: row for row in catalog.stored_objects(placed.association)}
    assert rows[stray].is_foreign
    assert [rows[entry.key].import_status for entry in placed.entries] == ["IMPORTED", "IMPORTED"]
    association = catalog.association(placed.association)
    assert association is not None
    assert association.status == "LEDGER_MISMATCH"


def test_an_object_that_healthimaging_refuses_fails_the_execution_by_name_and_the_others_are_recorded(
    stack: RunningStack, catalog: Queries
) -> None:
    placer = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local")
    placed = placer.place([*ct_small_with_uids_of_their_own(2), b"this is no DICOM at all"])
    announce(stack, placed.message)
    assert failed_as(stack, placed.association) == "Ingest.Incomplete"
    (refused,) = catalog.stored_objects(placed.association, only_failed=True)
    assert refused.s3_key == placed.entries[2].key
    assert refused.import_error
    assert refused.import_error_message
    assert refused.not_indexed_reason
    assert [row.import_status for row in catalog.stored_objects(placed.association)] == ["IMPORTED", "IMPORTED", "FAILED"]


def test_a_quarantined_object_fails_the_execution_by_name_and_the_others_are_imported(
    stack: RunningStack, catalog: Queries, tmp_path: Path
) -> None:
    paths = ct_series(tmp_path, 3, patient_id="QUARANTINE")
    paths[1].write_bytes(paths[1].read_bytes()[:-1000])
    with RecordingProxy(stack.dicom_address[1]) as proxy:
        results = send(paths, host="127.0.0.1", port=proxy.port, calling_ae="QUARANTINE", called_ae="ANY")
        assert [result.status for result in results] == [0, 0, 0]
    (association,) = ended(catalog, "QUARANTINE")
    assert failed_as(stack, association.association) == "Ingest.Incomplete"
    assert (association.status, association.objects, association.quarantined) == ("INCOMPLETE", 2, 1)
    (held,) = catalog.stored_objects(association.association, only_failed=True)
    assert held.quarantine_reason == "cannot be read: the data set ends within an element"
    assert held.s3_key.startswith(f"quarantine/{association.edge}/{association.association}/000002-")
    assert in_s3(stack, held) == (proxy.acknowledged[1].sop_instance_uid, digest(proxy.acknowledged[1].data_set))
    imported = [row.import_status for row in catalog.stored_objects(association.association) if not row.quarantine_reason]
    assert imported == ["IMPORTED", "IMPORTED"]


def failed_as(stack: RunningStack, association: str) -> str:
    """The error of the association's execution, once it has failed."""
    wait_until(lambda: stack.executions().get(association, "RUNNING") != "RUNNING", "the execution ended")
    arn = f"{stack.endpoints['state_machines']['ingest'].replace(':stateMachine:', ':execution:')}:{association}"
    described = stack.engine.stepfunctions.describe_execution(executionArn=arn)
    assert described["status"] == "FAILED"
    return described["error"]


def test_an_aborted_association_keeps_what_was_acknowledged_and_says_that_it_ended_early(
    stack: RunningStack, catalog: Queries, tmp_path: Path
) -> None:
    answers = sending(stack, ct_series(tmp_path, 5, patient_id="EARLY"), "EARLY")
    answered = [next(answers) for _ in range(3)]
    answers.close()  # type: ignore[attr-defined]  # a generator: the connection is closed without a word
    assert [result.status for result in answered] == [0, 0, 0]
    (association,) = ended(catalog, "EARLY")
    assert (association.ending, association.status, association.objects) == ("lost", "COMPLETE", 3)
    assert [row.status for row in catalog.study_list(1000) if row.patient_id == "EARLY"] == ["ENDED_EARLY"]


def test_no_patient_data_leaves_s3_and_the_catalog(stack: RunningStack, catalog: Queries, tmp_path: Path) -> None:
    paths = ct_series(tmp_path, 2, patient_id="SECRET-PATIENT-ID")
    data = pydicom.dcmread(paths[0])
    data.PatientName = "SECRETNAME^VERY"
    data.save_as(paths[0])
    list(sending(stack, paths, "DISCREET"))
    (association,) = ended(catalog, "DISCREET")
    logs = [path for path in stack.state.rglob("*.log") if "mysql" not in path.parts]
    assert logs
    histories = [
        json.dumps(stack.engine.stepfunctions.get_execution_history(executionArn=arn, maxResults=1000)["events"], default=str)
        for arn in [association.execution_arn]
        if arn
    ]
    assert len(histories) == 1
    for text in [*(path.read_text(errors="replace") for path in logs), *histories]:
        assert "SECRET" not in text


def test_what_the_receiver_wrote_is_what_the_contract_reads(stack: RunningStack, catalog: Queries, tmp_path: Path) -> None:
    list(sending(stack, ct_series(tmp_path, 1), "CONTRACT"))
    (association,) = ended(catalog, "CONTRACT")
    key = f"manifests/{association.edge}/{association.association}/manifest.json"
    raw = stack.aws.s3.get_object(Bucket=association.bucket, Key=key)["Body"].read()
    manifest = from_json(AssociationManifest, raw)
    assert to_json(manifest) == raw
    execution = stack.engine.stepfunctions.describe_execution(executionArn=str(association.execution_arn))
    document = json.loads(execution["input"])
    document.pop("sent_at_ms")
    assert from_json(InboundMessage, json.dumps(document)) == InboundMessage.announcing(manifest, association.bucket)
