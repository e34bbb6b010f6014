"""The Lambda steps of an import: claim an attempt, record its job, and what came of it. Results are read in `outputs`."""

from __future__ import annotations

import hashlib

from contract.keys import imports_prefix, instances_prefix
from lambdas.catalog import Catalog, imports
from lambdas.catalog.connection import Cursor
from lambdas.catalog.imports import FAILED, Attempt, AttemptKey
from lambdas.errors import CatalogUnavailableError, UnknownAssociationError


def claim(catalog: Catalog, *, association: str, edge: str, bucket: str, part: int, execution_arn: str) -> Attempt:
    """The attempt of this part that goes on: the latest, or the next one when that has FAILED. Safe to call side by side.

    Raises CatalogUnavailableError, CatalogRefusedError.
    """

    def work(cursor: Cursor) -> Attempt:
        latest = imports.latest_attempt(cursor, association, part)
        if latest is None or latest.status == FAILED:
            attempt = 1 if latest is None else latest.attempt + 1
            imports.open_attempt(
                cursor,
                AttemptKey(association=association, part=part, attempt=attempt),
                client_token=client_token(association, part, attempt),
                execution_arn=execution_arn,
                input_s3_uri=f"s3://{bucket}/{instances_prefix(edge, association, part)}",
                output_s3_uri=f"s3://{bucket}/{imports_prefix(edge, association, part, attempt)}",
            )
            latest = imports.latest_attempt(cursor, association, part)
        if latest is None or latest.status == FAILED:
            raise CatalogUnavailableError(f"{association}, part {part}: another execution is opening an attempt")
        imports.adopt(cursor, AttemptKey(association=association, part=part, attempt=latest.attempt), execution_arn)
        return latest

    return catalog.transaction(work)


def client_token(association: str, part: int, attempt: int) -> str:
    """The token that `import.asl.json` gives to StartDICOMImportJob, so that a repeat gets the same job."""
    return hashlib.sha256(f"{association}/{part}/{attempt}".encode()).hexdigest()


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
