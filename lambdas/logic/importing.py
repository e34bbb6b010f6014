"""What is noted of an attempt while its job runs: the job, and by what its execution fails.

Attempts are claimed in `claiming`, copies made in `staging`, results read in `outputs`.
"""

from __future__ import annotations

from lambdas.catalog import Catalog, imports
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import AttemptKey
from lambdas.errors import UnknownAssociationError


def record_job(catalog: Catalog, key: AttemptKey, *, job_id: str, status: str) -> None:
    """Note the job of an attempt and its status, which goes forward only. Raises UnknownAssociationError, Catalog's."""

    def work(cursor: Cursor) -> None:
        _known(cursor, key)
        imports.record_job(cursor, key, job_id, status)

    catalog.transaction(work)


def record_failure(catalog: Catalog, key: AttemptKey, *, job_id: str, job_failed: bool, error: str, cause: str) -> None:
    """Note by what an attempt's execution fails. Raises UnknownAssociationError, and Catalog's."""

    def work(cursor: Cursor) -> None:
        _known(cursor, key)
        imports.record_failure(cursor, key, job_id=job_id, job_failed=job_failed, error=error[:256], cause=cause)

    catalog.transaction(work)


def _known(cursor: Cursor, key: AttemptKey) -> None:
    if not imports.exists(cursor, key):
        raise UnknownAssociationError(f"{key.association}, part {key.part}: there is no attempt {key.attempt} in the catalog")
