"""Transactions outlive deadlocks, lost connections and failovers, and fail by name without quoting a value."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from lambdas import errors
from lambdas.catalog import Catalog, CatalogSettings
from lambdas.catalog.connection import LOCK_ATTEMPTS, Cursor, open_connection
from tests.support.catalog import rows

if TYPE_CHECKING:
    from collections.abc import Callable

_INSERT = "INSERT INTO conflict (level, uid, parent, noticed_at) VALUES (%s, %s, 'p', '2026-01-01')"
_TOUCH = "UPDATE conflict SET noticed_at = UTC_TIMESTAMP(3) WHERE level = 'test' AND uid = %s"


def _insert(uid: str) -> Callable[[Cursor], int]:
    return lambda cursor: cursor.execute(_INSERT, ("test", uid))


class Sleeps:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def other(migrated_settings: CatalogSettings) -> Catalog:
    """A second connection to the same catalog."""
    return Catalog(lambda: migrated_settings)


def test_of_two_transactions_in_deadlock_both_end_with_their_rows(catalog: Catalog, other: Catalog) -> None:
    for uid in ("1", "2"):
        catalog.transaction(_insert(uid))
    both_hold_one = threading.Barrier(2)
    runs: list[str] = []

    def crossing(first: str, second: str) -> Callable[[Cursor], None]:
        def work(cursor: Cursor) -> None:
            cursor.execute(_TOUCH, (first,))
            runs.append(first)
            if runs.count(first) == 1:
                both_hold_one.wait(20)
            cursor.execute(_TOUCH, (second,))

        return work

    thread = threading.Thread(target=other.transaction, args=(crossing("2", "1"),))
    thread.start()
    catalog.transaction(crossing("1", "2"))
    thread.join(30)
    assert not thread.is_alive()
    assert len(runs) > 2  # one of them was the victim, and ran again
    other.close()


def test_locks_that_stay_taken_are_told_by_name_after_bounded_retries_with_jitter(migrated_settings: CatalogSettings) -> None:
    sleeps = Sleeps()
    catalog = Catalog(lambda: migrated_settings, sleep=sleeps)

    def work(cursor: Cursor) -> None:
        raise pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock")

    with pytest.raises(errors.CatalogUnavailableError, match="1213"):
        catalog.transaction(work)
    assert len(sleeps.seconds) == LOCK_ATTEMPTS - 1
    assert all(0 <= one <= 1 for one in sleeps.seconds)
    assert len(set(sleeps.seconds)) > 5
    catalog.close()


def test_a_connection_that_was_lost_between_transactions_is_opened_again(catalog: Catalog, other: Catalog) -> None:
    lost = catalog.transaction(lambda cursor: cursor.rows("SELECT CONNECTION_ID() AS id"))[0]["id"]
    other.transaction(lambda cursor: cursor.execute(f"KILL {lost}"))
    catalog.transaction(_insert("1"))
    assert len(rows(catalog, "conflict")) == 1
    other.close()


def test_a_connection_that_was_lost_within_a_transaction_runs_it_again_from_its_beginning(
    catalog: Catalog, other: Catalog
) -> None:
    runs = []

    def work(cursor: Cursor) -> None:
        runs.append(1)
        cursor.execute(_INSERT, ("test", "1"))
        if len(runs) == 1:
            lost = cursor.rows("SELECT CONNECTION_ID() AS id")[0]["id"]
            other.transaction(lambda killer: killer.execute(f"KILL {lost}"))
        cursor.execute(_INSERT, ("test", "2"))

    catalog.transaction(work)
    assert len(runs) == 2
    assert len(rows(catalog, "conflict")) == 2
    other.close()


def test_a_writer_that_became_read_only_is_left_for_a_new_connection(migrated_settings: CatalogSettings) -> None:
    opened = []

    def connect(settings: CatalogSettings) -> pymysql.Connection[Any]:
        opened.append(open_connection(settings))
        return opened[-1]

    catalog = Catalog(lambda: migrated_settings, connect=connect)

    def work(cursor: Cursor) -> int:
        if len(opened) == 1:
            raise pymysql.err.OperationalError(1290, "running with the --read-only option")
        return 1

    assert catalog.transaction(work) == 1
    assert len(opened) == 2
    catalog.close()


def test_a_transaction_that_raises_leaves_nothing_and_the_next_one_works(catalog: Catalog) -> None:
    def work(cursor: Cursor) -> None:
        cursor.execute(_INSERT, ("test", "1"))
        raise errors.UnknownAssociationError("none")

    with pytest.raises(errors.UnknownAssociationError):
        catalog.transaction(work)
    catalog.transaction(_insert("2"))
    assert [row["uid"] for row in rows(catalog, "conflict")] == ["2"]


def test_text_that_is_no_unicode_is_refused_by_name(catalog: Catalog) -> None:
    with pytest.raises(errors.CatalogRefusedError, match="Unicode"):
        catalog.transaction(_insert("\ud800"))
    catalog.transaction(_insert("1"))


def test_a_password_that_was_rotated_is_asked_for_at_the_next_connect(migrated_settings: CatalogSettings) -> None:
    asked = []

    def load() -> CatalogSettings:
        asked.append(1)
        return migrated_settings

    catalog = Catalog(load)
    for _ in range(2):
        catalog.transaction(lambda cursor: cursor.rows("SELECT 1"))
    assert len(asked) == 1
    catalog.close()
    catalog.transaction(lambda cursor: cursor.rows("SELECT 1"))
    assert len(asked) == 2
    catalog.close()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO no_such_table VALUES ('DOE^JANE')", 1146),
        ("SELECT 'DOE^JANE' FROM", 1064),
        ("INSERT INTO patient (patient_key, described_order, patient_birth_date) VALUES ('k', '', 'DOE^JANE')", 1292),
        ("INSERT INTO conflict (level, uid, parent, noticed_at) VALUES (REPEAT('DOE^JANE', 9), '', '', NOW())", 1406),
    ],
)
def test_what_mysql_refuses_is_told_by_its_code_and_never_by_its_text(catalog: Catalog, statement: str, code: int) -> None:
    with pytest.raises(errors.CatalogRefusedError, match=str(code)) as raised:
        catalog.transaction(lambda cursor: cursor.execute(statement))
    told = "".join(traceback.format_exception(raised.value)).split("CatalogRefused", maxsplit=1)[-1]
    assert "pymysql.err" not in "".join(traceback.format_exception(raised.value))
    assert "JANE' for" not in told


@pytest.mark.parametrize(
    "changes", [{"port": 1}, {"password": "wrong"}, {"host": "no-such-host.invalid"}, {"tls": "verify"}], ids=str
)
def test_a_catalog_that_cannot_be_reached_is_unavailable(migrated_settings: CatalogSettings, changes: dict[str, Any]) -> None:
    """Among these a server without TLS: it is never spoken to in clear text."""
    from dataclasses import replace

    catalog = Catalog(lambda: replace(migrated_settings, **changes))
    with pytest.raises(errors.CatalogUnavailableError):
        catalog.transaction(lambda cursor: cursor.rows("SELECT 1"))


def test_settings_do_not_show_their_password(migrated_settings: CatalogSettings) -> None:
    assert migrated_settings.password not in repr(migrated_settings)
