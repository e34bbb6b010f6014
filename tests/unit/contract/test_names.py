"""Association ids, safe names and S3 keys, for whatever comes from the wire."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract import ContractError, new_association_id
from contract.association import ASSOCIATION_ID_MAX_CHARACTERS, check_association_id, check_edge_id
from contract.keys import (
    adopted_key,
    imports_prefix,
    instance_key,
    instances_prefix,
    manifest_key,
    parse_instance_key,
    parse_manifest_key,
    parse_outputs_folder,
    part_manifest_key,
    quarantine_key,
)
from contract.uids import ABSENT, is_uid, safe_name, uid_from_wire

ASSOCIATION = "20261124T021501Z-CT_ROOM_1-9f3c2a71"
HOSTILE = st.one_of(st.text(max_size=300), st.from_regex(r"[0-9.]{1,70}", fullmatch=True))


def test_an_ordinary_uid_is_its_own_name() -> None:
    assert safe_name("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"


def test_an_absent_uid_has_a_name_of_its_own() -> None:
    assert safe_name("") == ABSENT
    assert safe_name(ABSENT) != ABSENT


@given(HOSTILE)
@example("../..")
@example("..")
@example(".")
@example("/etc/passwd")
@example("1.2\0.3")
@example("1" * 300)
@example("1..2")
def test_a_hostile_uid_stays_inside_its_folder(uid: str) -> None:
    name = safe_name(uid)
    assert "/" not in name
    assert "\0" not in name
    assert name not in {"", ".", ".."}
    assert name.isascii()
    assert len(name) <= 64


@given(HOSTILE, HOSTILE)
@example("1/2", "1_2")
@example("", "_")
@example("1.2", "1.2 ")
def test_different_uids_have_different_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_no_name_made_up_for_a_strange_value_is_a_uid() -> None:
    assert not is_uid(safe_name("1.2.x"))


def test_padding_of_a_uid_is_stripped_and_other_bytes_are_kept() -> None:
    assert uid_from_wire(b"1.2.3\0") == "1.2.3"
    assert uid_from_wire(b"1.2.3 \0 ") == "1.2.3"
    assert uid_from_wire(b" 1.\xff") == " 1.\xff"


@given(st.text(max_size=40))
@example("CT ROOM 1")
@example("../../etc")
@example("")
@example("RÖNTGEN")
def test_an_association_id_is_valid_for_any_ae_title(ae: str) -> None:
    association = new_association_id(ae, datetime(2026, 11, 24, 2, 15, 1, tzinfo=UTC))
    assert check_association_id(association) == association
    assert len(association) <= ASSOCIATION_ID_MAX_CHARACTERS
    assert association.startswith("20261124T021501Z-")


def test_association_ids_sort_by_time_and_are_unique() -> None:
    earlier, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert new_association_id("Z", earlier) < new_association_id("A", later)
    assert new_association_id("A", earlier) != new_association_id("A", earlier)


@pytest.mark.parametrize("value", ["", "x", f"{ASSOCIATION}\n", f"../{ASSOCIATION}", ASSOCIATION.replace("CT_ROOM_1", "CT/1")])
def test_what_is_no_association_id_is_refused(value: str) -> None:
    with pytest.raises(ContractError, match="association: expected an id such as"):
        check_association_id(value)


@pytest.mark.parametrize("value", ["", "-a", "A", "a/b", "..", "a" * 33, "a\n"])
def test_what_is_no_edge_id_is_refused(value: str) -> None:
    with pytest.raises(ContractError, match="edge: expected"):
        check_edge_id(value)


@given(HOSTILE, HOSTILE, HOSTILE, st.integers(1, 9999))
def test_an_instance_key_is_parsed_back(study: str, series: str, sop: str, part: int) -> None:
    key = instance_key(edge="site-1", association=ASSOCIATION, part=part, study_uid=study, series_uid=series, sop_uid=sop)
    parsed = parse_instance_key(key)
    assert str(parsed) == key
    assert (parsed.edge, parsed.association, parsed.part) == ("site-1", ASSOCIATION, part)
    assert (parsed.study, parsed.series, parsed.name) == (safe_name(study), safe_name(series), safe_name(sop))
    assert key.startswith(instances_prefix("site-1", ASSOCIATION, part))
    assert len(key) <= 512


def test_other_content_under_a_known_uid_has_a_key_of_its_own() -> None:
    first = instance_key(edge="e", association=ASSOCIATION, part=1, study_uid="1", series_uid="2", sop_uid="3")
    second = instance_key(
        edge="e", association=ASSOCIATION, part=2, study_uid="1", series_uid="2", sop_uid="3", other_digest="ab" * 32
    )
    assert first == f"instances/e/{ASSOCIATION}/1/1/2/3.dcm"
    assert second == f"instances/e/{ASSOCIATION}/2/1/2/3~abababababab.dcm"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "instances/e/x/1/1/2/3.dcm",
        f"instances/e/{ASSOCIATION}/0/1/2/3.dcm",
        f"instances/e/{ASSOCIATION}/01/1/2/3.dcm",
        f"instances/e/{ASSOCIATION}/1/../2/3.dcm",
        f"instances/e/{ASSOCIATION}/1/1/2/3",
        f"instances/e/{ASSOCIATION}/1/1/2/x/3.dcm",
        f"external/e/{ASSOCIATION}/1/1/2/3.dcm",
    ],
)
def test_what_is_no_instance_key_is_refused(key: str) -> None:
    with pytest.raises(ContractError):
        parse_instance_key(key)


def test_only_dicom_objects_stand_under_the_import_prefix() -> None:
    prefix = instances_prefix("e", ASSOCIATION, 1)
    assert prefix.endswith("/")
    for other in (
        manifest_key("e", ASSOCIATION),
        part_manifest_key("e", ASSOCIATION, 1),
        quarantine_key("e", ASSOCIATION, "1.2.3"),
        instances_prefix("e", ASSOCIATION, 11),
    ):
        assert not other.startswith(prefix)


def test_a_manifest_key_is_parsed_back() -> None:
    assert parse_manifest_key(manifest_key("site-1", ASSOCIATION)) == ("site-1", ASSOCIATION)
    with pytest.raises(ContractError):
        parse_manifest_key(part_manifest_key("site-1", ASSOCIATION, 1))


def test_a_folder_of_outputs_says_of_which_attempt_it_is() -> None:
    folder = imports_prefix("edge-1", ASSOCIATION, 2, 3)
    assert parse_outputs_folder(f"{folder}0123-DicomImport-4567/") == ("edge-1", ASSOCIATION, 2, 3)
    for other in (
        folder,
        f"{folder}0123-DicomImport-4567/SUCCESS/",
        f"x{folder}job/",
        f"imports/edge-1/{ASSOCIATION}/0/1/job/",
    ):
        with pytest.raises(ContractError):
            parse_outputs_folder(other)


def test_the_plan_of_an_adopted_association_has_its_ids_for_a_key() -> None:
    assert adopted_key("edge-1", ASSOCIATION) == f"adopted/edge-1/{ASSOCIATION}.json"
    with pytest.raises(ContractError):
        adopted_key("../x", ASSOCIATION)
