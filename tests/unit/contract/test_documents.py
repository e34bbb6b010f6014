"""Manifests and messages: what is written is read back, and nothing else is read."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import ContractError, Ending
from contract.manifest import AssociationManifest, Entry, Member, PartManifest, PartSummary, QuarantinedObject
from contract.message import InboundMessage
from contract.strict import from_json, to_json, utc_now

ASSOCIATION = "20261124T021501Z-CT_ROOM_1-9f3c2a71"

TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made aware in the next line
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=70)
SIZES = st.integers(0, 10**13)
ENTRIES = st.builds(
    Entry,
    key=TEXTS,
    size_bytes=SIZES,
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    sop_class_uid=TEXTS,
    sop_instance_uid=TEXTS,
    study_instance_uid=TEXTS,
    series_instance_uid=TEXTS,
    transfer_syntax_uid=TEXTS,
    received_at=TIMES,
    supersedes=st.booleans(),
)
PARTS = st.builds(
    PartManifest,
    association=st.just(ASSOCIATION),
    edge=st.just("site-1"),
    part=st.integers(1, 99),
    entries=st.lists(ENTRIES, max_size=4).map(tuple),
)
QUARANTINED = st.builds(
    QuarantinedObject,
    key=TEXTS,
    size_bytes=SIZES,
    reason=TEXTS,
    sop_class_uid=TEXTS,
    sop_instance_uid=TEXTS,
    transfer_syntax_uid=TEXTS,
    received_at=TIMES,
)
SUMMARIES = st.lists(st.tuples(st.integers(1, 5000), SIZES), max_size=4).map(
    lambda rows: tuple(PartSummary(part=n, objects=count, size_bytes=size) for n, (count, size) in enumerate(rows, 1))
)
MEMBERS = st.lists(
    st.builds(
        Member,
        association=st.just(ASSOCIATION),
        started_at=TIMES,
        ended_at=TIMES,
        ending=st.sampled_from(Ending),
        objects=st.integers(1, 9),
    ),
    max_size=3,
)
MANIFESTS = st.builds(
    AssociationManifest,
    association=st.just(ASSOCIATION),
    edge=st.just("site-1"),
    sequence=st.integers(0, 2**40),
    calling_ae=TEXTS,
    called_ae=TEXTS,
    peer=TEXTS,
    started_at=TIMES,
    ended_at=TIMES,
    ending=st.sampled_from(Ending),
    identical_repeats=st.integers(0, 9),
    parts=SUMMARIES,
    quarantined=st.lists(QUARANTINED, max_size=3).map(tuple),
    members=MEMBERS.map(tuple),
)


MANIFEST = AssociationManifest(
    association=ASSOCIATION,
    edge="e",
    sequence=1,
    calling_ae="A",
    called_ae="B",
    peer="127.0.0.1",
    started_at=utc_now(),
    ended_at=utc_now(),
    ending=Ending.RELEASED,
    identical_repeats=0,
    parts=(),
    quarantined=(),
)


@given(PARTS)
def test_a_part_manifest_is_read_back(part: PartManifest) -> None:
    assert from_json(PartManifest, to_json(part)) == part


@given(MANIFESTS)
def test_a_manifest_and_its_message_are_read_back(manifest: AssociationManifest) -> None:
    assert from_json(AssociationManifest, to_json(manifest)) == manifest
    message = InboundMessage.announcing(manifest, "images")
    assert from_json(InboundMessage, to_json(message)) == message
    assert message.objects == sum(part.objects for part in manifest.parts)
    assert message.quarantined == len(manifest.quarantined)


@given(MANIFESTS)
def test_a_manifest_of_one_association_is_as_it_was_before_several_could_share_one(manifest: AssociationManifest) -> None:
    document = json.loads(to_json(replace(manifest, members=())))
    assert "members" not in document
    assert from_json(AssociationManifest, json.dumps(document)).members == ()
    document["members"] = [{"association": ASSOCIATION}]
    with pytest.raises(ContractError, match=r"members\[0\]: missing ended_at, ending, objects, started_at"):
        from_json(AssociationManifest, json.dumps(document))


def test_the_first_member_gives_a_manifest_its_id() -> None:
    other = "20261124T021501Z-CT_ROOM_1-00000000"
    at = utc_now()
    member = Member(association=other, started_at=at, ended_at=at, ending=Ending.RELEASED, objects=1)
    with pytest.raises(ContractError, match="members: expected the association itself first"):
        replace(MANIFEST, members=(member,))


def message_document() -> dict[str, object]:
    message = InboundMessage(
        association=ASSOCIATION,
        edge="site-1",
        sequence=7,
        bucket="images",
        manifest_key=f"manifests/site-1/{ASSOCIATION}/manifest.json",
        objects=300,
        quarantined=0,
        size_bytes=157_286_400,
        ending=Ending.RELEASED,
    )
    document: dict[str, object] = json.loads(to_json(message))
    return document


def test_a_message_stays_small_whatever_the_association_held() -> None:
    assert len(json.dumps(message_document())) < 512


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": 2}, "InboundMessage.version: this program reads version 1 only"),
        ({"version": True}, "InboundMessage.version"),
        ({"objects": "300"}, "InboundMessage.objects: expected an integer"),
        ({"objects": True}, "InboundMessage.objects: expected an integer"),
        ({"objects": -1}, "expected at least 0"),
        ({"ending": "finished"}, "InboundMessage.ending: expected one of released"),
        ({"ending": ["released"]}, "InboundMessage.ending: expected one of released"),
        ({"association": "../x"}, "association: expected an id"),
        ({"manifest_key": "manifests/other/x/manifest.json"}, "manifest_key: not the key"),
        ({"patient_name": "DOE^JANE"}, "1 field"),
    ],
)
def test_a_message_that_breaks_the_contract_is_refused_by_field_and_without_its_values(
    change: dict[str, object], text: str
) -> None:
    with pytest.raises(ContractError, match=text) as caught:
        from_json(InboundMessage, json.dumps(message_document() | change))
    assert "DOE" not in str(caught.value)
    assert "patient" not in str(caught.value)


def test_a_message_that_lacks_a_field_is_refused() -> None:
    document = message_document()
    del document["bucket"]
    with pytest.raises(ContractError, match="missing bucket"):
        from_json(InboundMessage, json.dumps(document))


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{", b"[]", b"null", b"NaN", b"[" * 100_000, b'{"version": 1e999}'])
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(ContractError):
        from_json(InboundMessage, raw)


@pytest.mark.parametrize("time", ["2026-11-24", "2026-11-24T02:15:01", "yesterdayZ", 5, None])
def test_a_time_in_another_form_is_refused(time: object) -> None:
    part = PartManifest(association=ASSOCIATION, edge="e", part=1, entries=(entry(),))
    document = json.loads(to_json(part))
    document["entries"][0]["received_at"] = time
    with pytest.raises(ContractError, match=r"entries\[0\].received_at: expected a time such as"):
        from_json(PartManifest, json.dumps(document))


def test_parts_are_numbered_from_one_in_order() -> None:
    with pytest.raises(ContractError, match="expected the numbers 1, 2, 3"):
        replace(MANIFEST, parts=(PartSummary(part=2, objects=1, size_bytes=1),))


def test_a_part_sums_up_its_entries() -> None:
    part = PartManifest(association=ASSOCIATION, edge="e", part=3, entries=(entry(), entry()))
    assert part.summary() == PartSummary(part=3, objects=2, size_bytes=20)


def entry() -> Entry:
    return Entry(
        key="k",
        size_bytes=10,
        digest="0" * 64,
        sop_class_uid="1",
        sop_instance_uid="1",
        study_instance_uid="1",
        series_instance_uid="1",
        transfer_syntax_uid="1.2.840.10008.1.2",
        received_at=utc_now(),
        supersedes=False,
    )
