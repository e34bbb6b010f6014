"""Make the copies that an attempt imports in place of its part's prefix (lambdas.logic.claiming says which)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lambdas.adapters.aws import READS_AT_ONCE, Storage
from lambdas.catalog import Catalog, scopes
from lambdas.catalog.imports import AttemptKey


def stage(catalog: Catalog, storage: Storage, key: AttemptKey, bucket: str) -> int:
    """Copy each object of the attempt; how many. A repeat copies the same again.

    Raises StorageNotFoundError when an object is gone, and the others of Catalog and Storage.
    """
    copies = catalog.transaction(lambda cursor: scopes.copies(cursor, key))
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        list(pool.map(lambda one: storage.copy(bucket, one.s3_key, one.copy_key), copies))
    return len(copies)
