"""The catalog in MySQL: patients, studies, series, instances, and the ledger of every object. The only place with SQL.

Statements keep to what MySQL 8.0 (Aurora) and MariaDB 10.11 (local) both take. Every write is an upsert by a key that a
repeat finds again, so any transaction may be run again, also one whose commit was not heard of.

Locks are taken in one order everywhere: association, import_job, import_scope, staged_copy, stored_object, instance, series,
study, patient, image_set, conflict, change_log; rows of one table by ascending key. What many slices share (series, study,
patient) comes late, so that it is held shortly. There are no foreign keys: indexing and importing write in any order.
"""

from __future__ import annotations

from lambdas.catalog.connection import Catalog, CatalogSettings

__all__ = ["Catalog", "CatalogSettings", "let_in", "migrate"]


def migrate(settings: CatalogSettings) -> list[str]:
    """Bring the catalog's tables up to date; the ids of the migrations that this call applied (lambdas.catalog.migration)."""
    from lambdas.catalog import migration  # noqa: PLC0415 - yoyo is slow to import, and one function alone needs it

    return migration.migrate(settings)


def let_in(settings: CatalogSettings, user: str) -> None:
    """Let functions log in by IAM as `user`, which may read and change rows and nothing else (lambdas.catalog.migration)."""
    from lambdas.catalog import migration  # noqa: PLC0415

    migration.let_in(settings, user)
