"""The change log: who corrected what, and nothing else, in any order of slices, repeated and side by side."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.attributes import KEYS, Level
from lambdas.catalog.objects import Described, IndexedObject, write_indexed
from tests.support.catalog import empty, everything, rows
from tests.support.indexed import INDEX_TABLES, made_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def _write(catalog: Catalog, *objects: IndexedObject) -> None:
    catalog.transaction(lambda cursor: write_indexed(cursor, objects))


def _log(catalog: Catalog, level: Level = Level.STUDY, uid: str = "%") -> list[tuple[Any, ...]]:
    """(association, column, old, new) of a level, or of one row of it, in the order of associations."""
    found = rows(catalog, "change_log", "level = %s AND uid LIKE %s", (level, uid))
    names = ("association", "column_name", "old_value", "new_value")
    return sorted(tuple(row[name] for name in names) for row in found)


def test_a_later_association_that_says_otherwise_updates_and_is_logged_at_every_level(catalog: Catalog) -> None:
    _write(catalog, made_object(1, order="1", association="A", text="wrong"))
    assert rows(catalog, "change_log") == []
    _write(catalog, made_object(1, order="2", association="B", text="right"))
    assert [row["study_description"] for row in rows(catalog, "study")] == ["right"]
    logged = {(row["level"], row["uid"], row["column_name"]): row for row in rows(catalog, "change_log")}
    assert logged.keys() == {
        ("patient", "a" * 64, "patient_name"),
        ("study", "2.1", "study_description"),
        ("series", "3.1", "series_description"),
        ("instance", "4.1", "image_type"),
    }
    assert {(row["association"], row["old_value"], row["new_value"]) for row in logged.values()} == {("B", "wrong", "right")}
    assert all(row["changed_at"] for row in logged.values())


def test_an_older_association_that_comes_late_neither_updates_nor_is_logged(catalog: Catalog) -> None:
    _write(catalog, made_object(1, order="2", association="B", text="right"))
    _write(catalog, made_object(1, order="1", association="A", text="wrong"))
    assert [row["study_description"] for row in rows(catalog, "study")] == ["right"]
    assert rows(catalog, "change_log") == []


def test_what_one_association_says_differently_is_no_correction(catalog: Catalog) -> None:
    for number, text in enumerate(["a", "b", "a"]):
        _write(catalog, made_object(number, order=f"1.{number}", association="A", text=text))
    assert rows(catalog, "change_log") == []


def test_an_association_is_logged_once_a_column_with_what_was_there_before_it_and_what_it_said_last(catalog: Catalog) -> None:
    _write(catalog, made_object(1, order="1", association="A", text="old"))
    for number, text in enumerate(["old", "passing", "new"]):
        _write(catalog, made_object(number, order=f"2.{number}", association="B", text=text))
    assert _log(catalog) == [("B", "study_description", "old", "new")]


def test_a_correction_that_its_own_association_took_back_leaves_no_row(catalog: Catalog) -> None:
    _write(catalog, made_object(1, order="1", association="A", text="old"))
    _write(catalog, made_object(1, order="2", association="B", text="mid"))
    _write(catalog, made_object(2, order="3.1", association="C", text="new"))
    _write(catalog, made_object(3, order="3.2", association="C", text="mid"))
    assert _log(catalog) == [("B", "study_description", "old", "mid")]


def test_a_repeat_leaves_the_log_and_its_times_as_they_were(catalog: Catalog) -> None:
    first, second = (made_object(1, order=order, association=order, text=order) for order in "12")
    _write(catalog, first)
    _write(catalog, second)
    before = rows(catalog, "change_log")
    _write(catalog, second)
    _write(catalog, first)
    assert rows(catalog, "change_log") == before != []


def test_dates_numbers_and_absent_values_are_logged_as_their_columns_show_them(catalog: Catalog) -> None:
    def saying(order: str, values: dict[str, Any]) -> IndexedObject:
        one = made_object(1, order=order, association=order)
        assert isinstance(one.outcome, Described)
        said = replace(one.outcome.levels[Level.INSTANCE], values=values)
        return replace(one, outcome=replace(one.outcome, levels={**one.outcome.levels, Level.INSTANCE: said}))

    _write(catalog, saying("1", {"content_date": date(2026, 1, 31), "rows": 512}))
    _write(catalog, saying("2", {"content_date": date(2026, 2, 1), "instance_number": 7, "image_type": '["Ä"]'}))
    assert _log(catalog, Level.INSTANCE) == [
        ("2", "content_date", "2026-01-31", "2026-02-01"),
        ("2", "image_type", None, '["Ä"]'),
        ("2", "instance_number", None, "7"),
        ("2", "rows", "512", None),
    ]


def _associations(chosen: random.Random) -> dict[str, list[IndexedObject]]:
    """Five associations about one study, which now agree, now differ, also within themselves."""
    return {
        association: [
            made_object(number, order=f"{association}.{number}", association=association, text=chosen.choice("xyz"))
            for number in range(4)
        ]
        for association in "ABCDE"
    }


def _slices(objects: Sequence[IndexedObject], chosen: random.Random) -> Iterable[Sequence[IndexedObject]]:
    """The objects in any order and grouping, some of them repeated."""
    shuffled = [*objects, *chosen.sample(objects, 2)]
    chosen.shuffle(shuffled)
    while shuffled:
        count = chosen.randint(1, 3)
        yield shuffled[:count]
        shuffled = shuffled[count:]


@pytest.mark.parametrize("seed", range(4))
def test_of_associations_that_follow_each_other_any_order_of_slices_gives_the_same_log(catalog: Catalog, seed: int) -> None:
    associations = _associations(random.Random(seed))
    results = []
    for attempt in range(4):
        empty(catalog, INDEX_TABLES)
        for objects in associations.values():
            for group in _slices(objects, random.Random(attempt)):
                _write(catalog, *group)
        results.append(everything(catalog, INDEX_TABLES))
    assert all(result == results[0] for result in results)
    said = [objects[-1].outcome.levels[Level.STUDY].values["study_description"] for objects in associations.values()]  # type: ignore[union-attr]
    expected = [
        (association, "study_description", old, new)
        for association, (old, new) in zip("BCDE", pairwise(said), strict=True)
        if old != new
    ]
    assert _log(catalog) == expected


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_side_by_side_the_log_is_a_chain_from_older_to_later_that_ends_in_what_is_shown(
    catalog: Catalog, migrated_settings: CatalogSettings, seed: int
) -> None:
    chosen = random.Random(seed)
    slices = [group for objects in _associations(chosen).values() for group in _slices(objects, chosen)]
    chosen.shuffle(slices)

    def index(number: int) -> None:
        own = Catalog(lambda: migrated_settings)
        for group in slices[number::4]:
            _write(own, *group)
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(index, range(4)))
    logged = everything(catalog, ("change_log",))
    checked = 0
    for level, name in {
        Level.PATIENT: "patient_name",
        Level.STUDY: "study_description",
        Level.SERIES: "series_description",
        Level.INSTANCE: "image_type",
    }.items():
        for row in rows(catalog, level):
            chain = [one[2:] for one in _log(catalog, level, row[KEYS[level]])]
            assert all(one[1] == other[0] for one, other in pairwise(chain))
            assert all(old != new for old, new in chain)
            assert not chain or chain[-1][1] == row[name]
            checked += len(chain)
    assert checked == len(logged["change_log"]) > 0
    for group in slices:  # once more, and nothing is new
        _write(catalog, *group)
    assert everything(catalog, ("change_log",)) == logged
