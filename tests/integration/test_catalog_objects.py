"""What indexing writes: right on everything that pydicom bundles, and the same in any order and side by side."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.adapters.aws import Storage
from lambdas.catalog import Catalog, CatalogSettings, associations
from lambdas.catalog.objects import Listed, write_indexed
from lambdas.logic.indexing import Slice, index_slice
from tests.support.catalog import empty, everything, rows
from tests.support.dicom import ct_series
from tests.support.indexed import INDEX_TABLES, made_object

if TYPE_CHECKING:
    from pathlib import Path

    from local.aws import Aws
    from tests.support.associations import PlacedAssociation, Placer


def _register(catalog: Catalog, placed: PlacedAssociation) -> None:
    catalog.transaction(lambda cursor: associations.register(cursor, placed.announcement, placed.manifest))


def _slice(placed: PlacedAssociation, first: int, count: int, part: int = 1) -> Slice:
    return Slice(
        association=placed.association,
        edge=placed.manifest.edge,
        bucket=placed.bucket,
        part=part,
        first=first,
        count=count,
    )


def test_indexers_side_by_side_on_one_study_lose_nothing(
    aws: Aws, placer: Placer, catalog: Catalog, migrated_settings: CatalogSettings, tmp_path: Path
) -> None:
    files = [path.read_bytes() for path in ct_series(tmp_path, 24)]
    placed = [placer.place(files), placer.place(files)]
    for association in placed:
        _register(catalog, association)
    storage = Storage(aws.session, endpoint_url=aws.endpoint_url)
    slices = [_slice(one, first, 3) for one in placed for first in range(0, 24, 3)]

    def index(order: int) -> int:
        own = Catalog(lambda: migrated_settings)
        mine = list(slices)
        random.Random(order).shuffle(mine)
        try:
            return sum(index_slice(own, storage, one, {}).indexed for one in mine[:8])
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(index, range(8))) == [24] * 8
    for one in slices:
        index_slice(catalog, storage, one, {})
    parallel = everything(catalog, INDEX_TABLES)
    assert {table: len(found) for table, found in parallel.items()} == {
        "stored_object": 48,
        "patient": 1,
        "study": 1,
        "series": 1,
        "instance": 24,
        "conflict": 0,
        "change_log": 0,
    }
    empty(catalog, INDEX_TABLES)
    for one in slices:
        index_slice(catalog, storage, one, {})
    assert everything(catalog, INDEX_TABLES) == parallel


def test_32_indexers_at_once_on_one_study_end_with_every_row_and_the_latest_values(
    catalog: Catalog, migrated_settings: CatalogSettings
) -> None:
    """Eight associations send the same study again, each in four slices, and each slice is indexed by four at a time."""
    slices = [
        [
            made_object(
                number, order=f"{association}.{number:03}", association=f"A{association}", text=f"said by {association}"
            )
            for number in range(first, first + 15)
        ]
        for association in range(8)
        for first in range(0, 60, 15)
    ]
    together = Barrier(32)

    def index(indexer: int) -> None:
        own = Catalog(lambda: migrated_settings)
        together.wait(60)
        for offset in (0, 8, 16, 24):
            objects = slices[(indexer + offset) % 32]
            own.transaction(lambda cursor, objects=objects: write_indexed(cursor, objects))  # type: ignore[misc]
        own.close()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(index, range(32)))
    counts = {table: len(found) for table, found in everything(catalog, INDEX_TABLES).items() if table != "change_log"}
    assert counts == {"stored_object": 480, "patient": 1, "study": 1, "series": 1, "instance": 60, "conflict": 0}
    assert {row["image_type"] for row in rows(catalog, "instance")} == {"said by 7"}
    assert [row["study_description"] for row in rows(catalog, "study")] == ["said by 7"]
    assert {row["not_indexed_reason"] for row in rows(catalog, "stored_object")} == {None}


def test_the_same_uid_under_another_parent_is_a_conflict_and_moves_nothing(catalog: Catalog) -> None:
    first = made_object(1, order="1", series="3.1", study="2.1", patient="a", text="first")
    moved = made_object(1, order="2", series="3.2", study="2.1", patient="b", text="second")
    catalog.transaction(lambda cursor: write_indexed(cursor, [first]))
    catalog.transaction(lambda cursor: write_indexed(cursor, [moved]))
    [instance] = rows(catalog, "instance")
    assert (instance["series_instance_uid"], instance["image_type"]) == ("3.1", "second")
    [study] = rows(catalog, "study")
    assert (study["patient_key"], study["study_description"]) == ("a" * 64, "second")
    assert sorted((row["level"], row["uid"], row["parent"]) for row in rows(catalog, "conflict")) == [
        ("instance", "4.1", "2.1/3.1"),
        ("instance", "4.1", "2.1/3.2"),
        ("study", "2.1", "a" * 64),
        ("study", "2.1", "b" * 64),
    ]


def test_the_first_object_may_name_another_parent_when_it_is_indexed_again(catalog: Catalog) -> None:
    for series, study, patient in (("3.1", "2.1", "a"), ("3.2", "2.2", "b"), ("3.2", "2.2", "c")):
        one = made_object(1, order="1", series=series, study=study, patient=patient)
        other = made_object(2, order="2", series=series, study=study, patient=patient)
        catalog.transaction(lambda cursor, group=(one, other): write_indexed(cursor, group))  # type: ignore[misc]
    found = {row["sop_instance_uid"]: (row["study_instance_uid"], row["parent_order"]) for row in rows(catalog, "instance")}
    assert found == {"4.1": ("2.2", "1"), "4.2": ("2.2", "2")}
    assert {row["study_instance_uid"]: row["patient_key"][0] for row in rows(catalog, "study")} == {"2.1": "a", "2.2": "c"}
    assert rows(catalog, "conflict") == []


def test_a_parent_that_moved_is_named_where_another_object_is_in_conflict_with_it(catalog: Catalog) -> None:
    for order, patient in (("1", "a"), ("2", "x"), ("1", "b")):
        one = made_object(int(order), order=order, patient=patient)
        catalog.transaction(lambda cursor, one=one: write_indexed(cursor, [one]))  # type: ignore[misc]
    assert [row["patient_key"][0] for row in rows(catalog, "study")] == ["b"]
    assert sorted(row["parent"][0] for row in rows(catalog, "conflict")) == ["a", "b", "x"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_an_object_without_a_patient_id_takes_its_study_from_no_patient(
    catalog: Catalog, order: tuple[int, ...], *, together: bool
) -> None:
    report = made_object(1, order="1", patient="0", has_id=False)
    images = [made_object(2, order="2", patient="a"), made_object(3, order="3", patient="a")]
    shuffled = [[report, *images][place] for place in order]
    for group in [shuffled] if together else [[one] for one in shuffled]:
        catalog.transaction(lambda cursor, group=group: write_indexed(cursor, group))  # type: ignore[misc]
    assert [(row["patient_key"], row["parent_order"]) for row in rows(catalog, "study")] == [("a" * 64, "2")]
    assert rows(catalog, "conflict") == []


def test_a_second_patient_id_is_a_conflict_whatever_objects_without_one_came_between(catalog: Catalog) -> None:
    for number, (patient, has_id) in enumerate([("0", False), ("b", True), ("0", False), ("a", True)]):
        one = made_object(number, order=str(9 - number), patient=patient, has_id=has_id)
        catalog.transaction(lambda cursor, one=one: write_indexed(cursor, [one]))  # type: ignore[misc]
    assert [row["patient_key"] for row in rows(catalog, "study")] == ["a" * 64]
    assert sorted(row["parent"] for row in rows(catalog, "conflict")) == ["a" * 64, "b" * 64]


def test_any_order_and_grouping_of_conflicting_objects_gives_the_same_rows(catalog: Catalog) -> None:
    objects = [
        made_object(
            number,
            order=f"{order}.{number}",
            series=f"3.{order % 3}",
            study=f"2.{order % 2}",
            patient="01"[order % 2] if number == 0 else "abcd"[order],
            has_id=number != 0,
        )
        for order in range(4)
        for number in range(3)
    ]
    results = []
    for seed in range(8):
        empty(catalog, INDEX_TABLES)
        chosen = random.Random(seed)
        order = objects + chosen.sample(objects, 4)
        chosen.shuffle(order)
        while order:
            count = chosen.randint(1, 5)
            group, order = order[:count], order[count:]
            catalog.transaction(lambda cursor, group=group: write_indexed(cursor, group))  # type: ignore[misc]
        results.append(everything(catalog, INDEX_TABLES))
    assert all(result == results[0] for result in results)
    assert results[0]["conflict"]


def test_text_of_any_length_and_script_comes_back_as_it_went_in(catalog: Catalog) -> None:
    for number, text in enumerate(["x" * 200_000, "Ἰωάννης 王^小东 🩻", "a'b\\c%s\n%(x)s", "trailing  "]):
        one = made_object(
            number, order=f"{number}", series=f"3.{number}", study=f"2.{number}", patient="abcd"[number], text=text
        )
        catalog.transaction(lambda cursor, one=one: write_indexed(cursor, [one]))  # type: ignore[misc]
        [study] = rows(catalog, "study", "study_instance_uid = %s", (f"2.{number}",))
        assert study["study_description"] == text


def test_an_object_that_became_readable_loses_its_reason(catalog: Catalog) -> None:
    good = made_object(1, order="1")
    catalog.transaction(lambda cursor: write_indexed(cursor, [replace(good, outcome="it is cut short")]))
    assert [row["not_indexed_reason"] for row in rows(catalog, "stored_object")] == ["it is cut short"]
    assert rows(catalog, "instance") == []
    catalog.transaction(lambda cursor: write_indexed(cursor, [good]))
    assert [row["not_indexed_reason"] for row in rows(catalog, "stored_object")] == [None]


def test_a_uid_that_is_none_is_kept_as_received_beside_its_safe_name(catalog: Catalog) -> None:
    good = made_object(1, order="1")
    assert isinstance(good.listed, Listed)
    odd = replace(good, listed=replace(good.listed, entry=replace(good.listed.entry, sop_instance_uid="../x" * 80)))
    catalog.transaction(lambda cursor: write_indexed(cursor, [odd]))
    [row] = rows(catalog, "stored_object")
    assert json.loads(row["uids_as_received"]) == {"sop_instance_uid": "../x" * 80}
    assert len(row["sop_instance_uid"]) <= 64


@pytest.mark.parametrize("count", [0, 250])
def test_a_slice_of_any_size_is_written_in_few_statements(catalog: Catalog, count: int) -> None:
    objects = [made_object(number, order=f"{number:04}") for number in range(count)]

    def work(cursor: Any) -> int:
        before = int(cursor.rows("SHOW SESSION STATUS LIKE 'Questions'")[0]["Value"])
        write_indexed(cursor, objects)
        return int(cursor.rows("SHOW SESSION STATUS LIKE 'Questions'")[0]["Value"]) - before

    assert catalog.transaction(work) <= 13
    assert len(rows(catalog, "instance")) == count
