"""Every statement is MySQL 8.0's too: those in the code, those of the migrations, and those that really run."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
import sqlglot
import sqlparse
from sqlglot import expressions

import lambdas.catalog
from lambdas import errors
from lambdas.catalog import Catalog, migrate
from lambdas.catalog.migration import MIGRATIONS
from lambdas.catalog.objects import write_indexed
from lambdas.catalog.queries import Queries
from tests.support.catalog import settings_of
from tests.support.dicom import ct_series
from tests.support.indexed import made_object
from tests.support.lambdas import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.aws import Aws
    from local.mariadb import DatabaseAddress
    from tests.support.associations import Placer

_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "WITH", "REPLACE")
_TAKEN_AS_IT_IS = ("SET ", "SHOW ", "ROLLBACK", "BEGIN", "COMMIT", "PREPARE ", "EXECUTE ")  # by sqlglot
_UNKNOWN = "DEALLOCATE PREPARE "  # to sqlglot; MySQL 8.0 has it


def _statements_in_code() -> Iterator[tuple[str, str]]:
    """(module, statement) of every constant of `lambdas.catalog` that is one, or a table of some."""
    for module in pkgutil.iter_modules(lambdas.catalog.__path__):
        for value in vars(importlib.import_module(f"lambdas.catalog.{module.name}")).values():
            for text in _texts(value):
                if text.lstrip().startswith(_VERBS):
                    yield module.name, text


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _parse(statement: str) -> None:
    """Raises sqlglot.ParseError, also for a statement that sqlglot knows no more of than its first word."""
    if statement.startswith(_UNKNOWN):
        return
    [tree] = sqlglot.parse(statement, read="mysql")
    if isinstance(tree, expressions.Command) and not statement.lstrip().upper().startswith(_TAKEN_AS_IT_IS):
        raise sqlglot.ParseError(f"not understood: {statement[:200]}")


def _with_values(statement: str) -> str:
    return re.sub(r"%s|%\(\w+\)s", "1", re.sub(r"\bIN (%s|%\(\w+\)s)", "IN (1)", statement))


@pytest.mark.parametrize(("module", "statement"), list(_statements_in_code()))
def test_a_statement_in_the_code_parses_as_mysql(module: str, statement: str) -> None:
    _parse(_with_values(statement))


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.stem)
def test_a_migrations_statements_parse_as_mysql_and_need_no_syntax_of_mariadbs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "%" not in text, "the driver takes it for a placeholder"
    statements = sqlparse.split(text)
    assert statements
    for statement in statements:
        _parse(statement)
        code = sqlparse.format(statement, strip_comments=True)
        assert not re.search(r"(ADD|DROP|CHANGE|MODIFY)\s+(COLUMN|KEY|INDEX)\s+IF\b", code, re.IGNORECASE)
        assert not re.search(r"\bRETURNING\b|\bSEQUENCE\s+\w+\s+(START|INCREMENT)|\bJSON\s+NULL", code)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are sent to the server, as they are sent."""
    sent: list[str] = []
    query = pymysql.connections.Connection.query

    def recording(connection: Any, sql: str | bytes, unbuffered: bool = False) -> int:
        sent.append(sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "surrogateescape"))
        return query(connection, sql, unbuffered)

    monkeypatch.setattr(pymysql.connections.Connection, "query", recording)
    return sent


def test_the_statements_that_run_in_a_migration_parse_as_mysql(catalog_database: DatabaseAddress, recorded: list[str]) -> None:
    migrate(settings_of(catalog_database))
    _parse_all(recorded)


@pytest.mark.usefixtures("lambdas")
def test_the_statements_that_run_from_registration_to_verdict_parse_as_mysql(
    aws: Aws, placer: Placer, catalog: Catalog, recorded: list[str], tmp_path: Path
) -> None:
    files = [path.read_bytes() for path in ct_series(tmp_path, 2)]
    run = Run(aws=aws, placed=placer.place(files, quarantined=[b"cut short"]))
    outputs = run.imported()
    outputs.fail(outputs.success.pop()["inputFile"])
    with pytest.raises(errors.IncompleteError):
        run.all(outputs)
    for number, text in enumerate(["O'Brien\\", "Łódź 王\n", ""]):
        moved = made_object(1, order=f"{number}", association=f"A{number}", series=f"3.{number}", text=text)
        catalog.transaction(lambda cursor, moved=moved: write_indexed(cursor, [moved]))  # type: ignore[misc]
    queries = Queries(catalog)
    assert queries.study_list()
    assert queries.conflicts()
    assert queries.ledger(run.placed.association)
    assert queries.stored_objects(run.placed.association, only_failed=True)
    assert queries.import_jobs(run.placed.association)
    assert queries.image_sets(run.placed.association)
    _parse_all(recorded)


def _parse_all(statements: list[str]) -> None:
    assert len(statements) > 30
    for statement in statements:
        _parse(statement)
