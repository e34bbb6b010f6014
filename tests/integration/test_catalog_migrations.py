"""The catalog's tables are made once, whoever comes first, and hold what the code writes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lambdas import errors
from lambdas.catalog import Catalog, CatalogSettings, migrate, migration, orphans
from lambdas.catalog.associations import Origin
from lambdas.catalog.attributes import ATTRIBUTES, Kind, Level, column, columns
from lambdas.catalog.connection import Cursor, open_connection
from lambdas.catalog.migration import MIGRATIONS
from lambdas.catalog.objects import Described, write_indexed
from lambdas.handlers import migrate_catalog
from lambdas.logic.order import described_order, object_order
from tests.support.catalog import TABLES, rows, settings_of
from tests.support.indexed import made_object
from tests.support.lambdas import CONTEXT

if TYPE_CHECKING:
    from local.mariadb import DatabaseAddress

ALL = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))


def test_migrations_are_applied_in_order_and_once(catalog_database: DatabaseAddress) -> None:
    settings = settings_of(catalog_database)
    assert migrate(settings) == ALL
    assert migrate(settings) == []


def test_two_runs_at_once_apply_each_migration_once(catalog_database: DatabaseAddress) -> None:
    settings = settings_of(catalog_database)
    with ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(lambda _: migrate(settings), range(3)))
    assert sorted(applied, key=len) == [[], [], ALL]


def test_while_another_run_holds_the_lock_nothing_is_applied(
    catalog_database: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(catalog_database)
    monkeypatch.setattr(migration, "_LOCK_SECONDS", 0)
    with open_connection(settings) as other:
        migration._lock(other, settings.database)
        with pytest.raises(errors.CatalogUnavailableError, match="lock"):
            migrate(settings)
    assert migrate(settings) == ALL  # MySQL dropped the lock with the connection


def test_a_run_that_broke_off_is_completed_by_the_next_and_destroys_nothing(catalog_database: DatabaseAddress) -> None:
    """MySQL commits each DDL statement: a process that was killed leaves some tables, no mark, and yoyo's lock row."""
    settings = settings_of(catalog_database)
    migrate(settings)
    catalog = Catalog(lambda: settings)

    def break_off(cursor: object) -> None:
        for statement in (
            "INSERT INTO conflict (level, uid, parent, noticed_at) VALUES ('study', '1', '2', '2026-01-01')",
            "DELETE FROM _yoyo_migration",
            "DROP TABLE image_set",
            "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, '2026-01-01', 1)",
        ):
            cursor.execute(statement)  # type: ignore[attr-defined]

    catalog.transaction(break_off)
    assert migrate(settings) == ALL
    assert len(rows(catalog, "conflict")) == 1
    assert rows(catalog, "image_set") == []
    catalog.close()


def test_the_handler_applies_what_is_missing(lambdas: None) -> None:
    assert migrate_catalog.handler({}, CONTEXT) == {"applied": []}


def test_the_handler_waits_for_a_catalog_that_is_away_and_asks_for_its_password_again(
    lambdas: None, migrated_settings: CatalogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[CatalogSettings] = []

    def settings() -> CatalogSettings:
        """The old password twice, as while it is rotated."""
        now = migrated_settings if len(asked) > 1 else replace(migrated_settings, password="the old one")
        asked.append(now)
        return now

    pauses: list[float] = []
    monkeypatch.setattr(migrate_catalog, "catalog_settings", settings)
    monkeypatch.setattr("lambdas.handlers.migrate_catalog.time.sleep", pauses.append)
    assert migrate_catalog.handler({}, CONTEXT) == {"applied": []}
    assert (len(asked), pauses) == (3, [2, 5])


def test_a_catalog_that_cannot_be_reached_is_told_by_name(migrated_settings: CatalogSettings) -> None:
    away = CatalogSettings(host="127.0.0.1", port=1, user="u", password="p", database="d", tls="off")
    with pytest.raises(errors.CatalogUnavailableError):
        migrate(away)


@pytest.mark.parametrize("level", Level)
def test_every_attribute_has_its_column_of_its_kind(catalog: Catalog, level: Level) -> None:
    found = {row["Field"]: row["Type"] for row in catalog.transaction(lambda cursor: cursor.rows(f"SHOW COLUMNS FROM {level}"))}
    types = dict.fromkeys((Kind.TEXT, Kind.MULTIPLE, Kind.CODES), "mediumtext")
    types |= {Kind.DATE: "date", Kind.INTEGER: "int", Kind.DECIMAL: "double"}
    for keyword, kind in ATTRIBUTES[level].items():
        assert found[column(keyword)].startswith(types[kind]), keyword
    ours = {
        "raw_values",
        "value_notes",
        "effective_issuer",
        "described_order",
        "described_by",
        "replaced_values",
        "parent_order",
        "object_hash",
        "patient_key",
    }
    assert set(found) - set(columns(level)) <= ours | {name for name in found if name.endswith("_uid")}


def test_identifiers_compare_byte_by_byte(catalog: Catalog) -> None:
    statement = """
        SELECT table_name AS t, column_name AS c, collation_name AS collation FROM information_schema.columns
        WHERE table_schema = DATABASE()
          AND (column_name LIKE %s OR column_name LIKE %s OR column_name LIKE %s
               OR column_name IN ('association', 'patient_id'))
    """
    found = catalog.transaction(lambda cursor: cursor.rows(statement, (r"%\_uid", r"%\_key", r"%\_hash")))
    ours = [row for row in found if row["t"] in TABLES]
    assert len(ours) > 20
    assert [row for row in ours if not row["collation"].endswith("_bin")] == []


def test_rows_that_are_older_than_the_change_log_learn_who_described_them(catalog_database: DatabaseAddress) -> None:
    settings = settings_of(catalog_database)
    migrate(settings)
    catalog = Catalog(lambda: settings)
    origin, association = Origin(sent_at_ms=1_790_000_000_000, sequence=7), "20261124T021501Z-CT.1-9f3c2a71"
    order = object_order(origin, association, 1, 2)
    indexed = made_object(1, order=order, association=association)
    assert isinstance(indexed.outcome, Described)
    levels = {
        level: said if level is Level.INSTANCE else replace(said, described_order=described_order(order, 3))
        for level, said in indexed.outcome.levels.items()
    }

    def as_before_the_change_log(cursor: Cursor) -> None:
        write_indexed(cursor, [replace(indexed, outcome=replace(indexed.outcome, levels=levels))])  # type: ignore[type-var]
        for level in Level:
            cursor.execute(f"UPDATE {level} SET described_by = NULL")  # noqa: S608
        cursor.execute("DELETE FROM _yoyo_migration")

    catalog.transaction(as_before_the_change_log)
    migrate(settings)
    assert [row["described_by"] for level in Level for row in rows(catalog, level)] == [association] * 4
    catalog.close()


def test_ends_that_are_older_than_the_column_count_as_told_and_what_is_open_does_not(
    catalog_database: DatabaseAddress,
) -> None:
    settings = settings_of(catalog_database)
    migrate(settings)
    catalog = Catalog(lambda: settings)
    statement = """
        INSERT INTO association (association, edge, `sequence`, sent_at_ms, bucket, ending, objects, quarantined, size_bytes,
                                 status, execution_arn, registered_at, status_changed_at)
        VALUES (%s, 'edge-1', 1, 1, 'b', 'released', 1, 0, 1, %s, 'arn', '2026-01-01', '2026-01-02')
    """

    def as_before_the_column(cursor: Cursor) -> None:
        for status in ("REGISTERED", "RUNNING", "COMPLETE", "INCOMPLETE", "LEDGER_MISMATCH", "FAILED", "TIMED_OUT", "ABORTED"):
            cursor.execute(statement, (status.lower(), status))
        cursor.execute("ALTER TABLE association DROP COLUMN told_at, DROP KEY association_by_told")
        cursor.execute("DELETE FROM _yoyo_migration")

    catalog.transaction(as_before_the_column)
    migrate(settings)
    untold = {row["status"] for row in rows(catalog, "association", "told_at IS NULL")}
    assert untold == {"REGISTERED", "RUNNING"}
    assert catalog.transaction(orphans.untold) == []
    catalog.close()
