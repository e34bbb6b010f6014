"""The catalog in tests: its settings, and all that its tables hold, for comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdas.catalog import Catalog, CatalogSettings

if TYPE_CHECKING:
    from local.mariadb import DatabaseAddress

TABLES = (
    "association",
    "association_member",
    "stored_object",
    "external_removal",
    "import_job",
    "import_scope",
    "staged_copy",
    "orphan",
    "image_set",
    "patient",
    "study",
    "series",
    "instance",
    "conflict",
    "change_log",
)
_MOMENTS = (
    "registered_at",
    "status_changed_at",
    "told_at",
    "indexed_at",
    "recorded_at",
    "noticed_at",
    "changed_at",
    "claimed_at",
    "submitted_at",
    "ended_at",
)
_KEPT_FOR_THE_CHANGE_LOG = "replaced_values"  # depends on the order of arrival, as the log does (lambdas.catalog.changes)


def settings_of(address: DatabaseAddress) -> CatalogSettings:
    return CatalogSettings(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        tls="off",
    )


def rows(catalog: Catalog, table: str, where: str = "1 = 1", arguments: tuple[object, ...] = ()) -> list[dict[str, Any]]:
    """All rows, or some, in no order that matters."""
    return catalog.transaction(lambda cursor: cursor.rows(f"SELECT * FROM {table} WHERE {where}", arguments))  # noqa: S608


def everything(catalog: Catalog, tables: tuple[str, ...] = TABLES) -> dict[str, list[dict[str, Any]]]:
    """What the catalog holds, but for when it was written and what stood there before."""

    def kept(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name not in (*_MOMENTS, _KEPT_FOR_THE_CHANGE_LOG)}

    return {table: sorted((kept(row) for row in rows(catalog, table)), key=repr) for table in tables}


def empty(catalog: Catalog, tables: tuple[str, ...] = TABLES) -> None:
    """Remove all rows, of all tables or of some."""

    def work(cursor: Any) -> None:
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608

    catalog.transaction(work)
