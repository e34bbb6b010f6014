"""Rules that need neither AWS nor a database: order, identity, plans, verdicts, names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

import workflows
from contract.association import Ending
from contract.manifest import AssociationManifest, PartSummary
from contract.strict import ContractError
from lambdas import errors
from lambdas.catalog.associations import Origin
from lambdas.catalog.attributes import ATTRIBUTES, column
from lambdas.catalog.keys import object_hash, patient_key, uid_column
from lambdas.catalog.ledger import LedgerCounts
from lambdas.logic.claiming import client_token
from lambdas.logic.header import LAST_GROUP
from lambdas.logic.order import described_order, object_order
from lambdas.logic.reconciling import verdict
from lambdas.logic.registering import plan_slices
from lambdas.logic.starting import parse_announcement
from tests.support.associations import RECEIVED_AT

ASSOCIATION = "20261124T021501Z-CT_1-9f3c2a71"
places = st.tuples(
    st.integers(0, 10**14), st.integers(0, 10**11), st.integers(1, 999_999), st.integers(0, 999_999), st.integers(0, 40)
)


@given(places, places)
def test_orders_sort_as_the_order_rule_says(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    def origin(place: tuple[int, ...]) -> Origin:
        return Origin(sent_at_ms=place[0], sequence=place[1])

    texts = [object_order(origin(place), ASSOCIATION, place[2], place[3]) for place in (one, other)]
    assert (texts[0] < texts[1]) == (one[:4] < other[:4])
    described = [described_order(text, place[4]) for text, place in zip(texts, (one, other), strict=True)]
    assert (described[0] < described[1]) == ((*one[:2], one[4], *one[2:4]) < (*other[:2], other[4], *other[2:4]))
    assert max(map(len, texts)) <= 128
    assert max(map(len, described)) <= 160


def test_a_patient_is_an_id_within_an_issuer() -> None:
    assert patient_key(" 1234 ", "", "1.2") == patient_key("1234", "", "9.9")
    different = [("ab1", ""), ("AB1", ""), ("äb1", ""), ("ab1", "HOSPITAL"), ("ab", "1"), ("01234", "")]
    assert len({patient_key(*one, "1.2") for one in different}) == len(different)


def test_a_patient_without_an_id_is_its_study() -> None:
    assert patient_key("", "", "1.2") == patient_key("  ", "ISSUER", "1.2")
    assert patient_key("", "", "1.2") != patient_key("", "", "1.3")
    assert patient_key("", "", "1.2") != patient_key("1.2", "", None)
    assert patient_key("", "", None) is None


def test_a_uid_column_holds_any_value_and_absent_is_null() -> None:
    assert uid_column("1.2.840") == "1.2.840"
    assert uid_column("") is None
    assert len(uid_column("x" * 300) or "") <= 64


def test_an_objects_row_is_named_by_bucket_and_key() -> None:
    assert object_hash("bucket", "a/b") != object_hash("bucket-a", "b")


def _manifest(*objects: int) -> AssociationManifest:
    return AssociationManifest(
        association=ASSOCIATION,
        edge="edge-1",
        sequence=1,
        calling_ae="A",
        called_ae="B",
        peer="p",
        started_at=RECEIVED_AT,
        ended_at=RECEIVED_AT,
        ending=Ending.RELEASED,
        identical_repeats=0,
        parts=tuple(PartSummary(part=number, objects=count, size_bytes=0) for number, count in enumerate(objects, 1)),
        quarantined=(),
    )


@given(st.lists(st.integers(1, 5000), max_size=20))
def test_slices_cover_every_object_once_and_are_few(objects: list[int]) -> None:
    slices = plan_slices(_manifest(*objects))
    covered = [(one.part, at) for one in slices for at in range(one.first, one.first + one.count)]
    assert covered == [(part, at) for part, count in enumerate(objects, 1) for at in range(count)]
    assert len(slices) <= 500 + len(objects)
    assert all(one.count >= 1 for one in slices)


def test_slices_hold_100_objects_until_there_would_be_more_than_500() -> None:
    assert {one.count for one in plan_slices(_manifest(*[5000] * 10))} == {100}
    assert {one.count for one in plan_slices(_manifest(*[5000] * 20))} == {200}


BALANCED = LedgerCounts(
    objects=3,
    quarantined=0,
    object_rows=3,
    indexed=3,
    not_indexed=0,
    imported=3,
    warned=1,
    failed=0,
    superseded=0,
    quarantined_rows=0,
    foreign=0,
)


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({}, None, ""),
        ({"imported": 2, "superseded": 1}, None, ""),
        ({"imported": 2, "failed": 1}, "Ingest.Incomplete", "of 3 objects 1 failed"),
        ({"indexed": 2, "not_indexed": 1}, "Ingest.Incomplete", "1 not indexed"),
        ({"quarantined": 1, "quarantined_rows": 1}, "Ingest.Incomplete", "of 4 objects 1 quarantined"),
        ({"imported": 2}, "Ingest.LedgerMismatch", "1 without a result"),
        ({"object_rows": 2, "indexed": 2, "imported": 2}, "Ingest.LedgerMismatch", "1 without a row"),
        ({"indexed": 2}, "Ingest.LedgerMismatch", "1 not looked at"),
        ({"foreign": 1}, "Ingest.LedgerMismatch", "1 foreign"),
        ({"quarantined": 1}, "Ingest.LedgerMismatch", "1 without a row"),
        ({"object_rows": 4, "quarantined": 1}, "Ingest.LedgerMismatch", "of 4 objects"),
        ({"imported": 2, "failed": 1, "foreign": 1}, "Ingest.LedgerMismatch", "1 foreign"),
    ],
)
def test_the_verdict_follows_the_sums(changes: dict[str, int], name: str | None, text: str) -> None:
    status, error = verdict(ASSOCIATION, replace(BALANCED, **changes))
    assert (type(error).__name__ if error else None) == name
    assert text in str(error)
    assert status == {None: "COMPLETE", "Ingest.Incomplete": "INCOMPLETE", "Ingest.LedgerMismatch": "LEDGER_MISMATCH"}[name]


def test_the_token_is_the_one_that_the_state_machine_gives() -> None:
    assert "$hash($states.context.Execution.Input.association & '/' &" in workflows.definition("import")
    assert client_token("a", 1, 2) == hashlib.sha256(b"a/1/2").hexdigest()


def test_every_error_that_the_state_machines_name_is_one_of_ours_or_of_aws() -> None:
    ours = {kind.__name__ for kind in errors.IngestError.__subclasses__()}
    named = {
        name
        for machine in workflows.MACHINES
        for name in re.findall(r'"((?:Catalog|Storage|Ingest|Import)\.\w+)"', workflows.definition(machine))
    }
    assert named - {"Import.JobFailed"} <= ours
    assert {"Catalog.Unavailable", "Storage.Unavailable", "Import.OutputsMissing"} <= named


def test_the_drawing_of_errors_has_every_error() -> None:
    drawn = set(re.findall(r"(?:├──|└──) (\S+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in errors.IngestError.__subclasses__()}


def test_every_column_is_a_keyword_of_dicom_and_within_what_is_read() -> None:
    keywords = [keyword for level in ATTRIBUTES.values() for keyword in level]
    assert len(set(keywords)) == len(keywords)
    tags = {keyword: tag_for_keyword(keyword) for keyword in keywords}
    assert not [keyword for keyword, tag in tags.items() if tag is None or tag >> 16 > LAST_GROUP]


@pytest.mark.parametrize(
    ("keyword", "name"),
    [("SOPClassUID", "sop_class_uid"), ("PatientID", "patient_id"), ("IssuerOfPatientID", "issuer_of_patient_id")],
)
def test_columns_are_keywords_in_snake_case(keyword: str, name: str) -> None:
    assert column(keyword) == name


@pytest.mark.parametrize("sent_at_ms", [None, "1790000000000", 1_790_000_000, True, 1.79e12])
def test_an_announcement_without_a_time_in_milliseconds_is_refused(sent_at_ms: object) -> None:
    with pytest.raises(ContractError, match="sent_at_ms"):
        parse_announcement({"sent_at_ms": sent_at_ms})
