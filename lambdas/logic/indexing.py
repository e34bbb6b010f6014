"""Index a slice of a part: read each object's header from S3, and write all rows in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock, RLock

from contract.manifest import Entry
from contract.strict import ContractError
from lambdas.adapters.aws import READS_AT_ONCE, Storage
from lambdas.catalog import Catalog, associations
from lambdas.catalog.associations import Origin
from lambdas.catalog.objects import Described, IndexedObject, Listed, write_indexed
from lambdas.errors import StorageNotFoundError, UnknownAssociationError
from lambdas.logic.describing import TAGS, describe
from lambdas.logic.header import ReadRange, UnreadableError, read_header
from lambdas.logic.issuers import DefaultIssuers, default_issuer
from lambdas.logic.manifests import list_part

_describing = Lock()
_large = RLock()
"""Held from before a header is large until it is described, so that no more than one of them is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Objects `first` to `first + count - 1` of a part, counted from 0 in the order of its manifest."""

    association: str
    edge: str
    bucket: str
    part: int
    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    indexed: int
    not_indexed: int
    fetched_bytes: int


def index_slice(catalog: Catalog, storage: Storage, wanted: Slice, issuers: DefaultIssuers) -> SliceResult:
    """Write the rows of every object of the slice; one that cannot be read gets a row with the reason.

    Raises UnknownAssociationError, ContractError, and those of Catalog and Storage.
    """
    origin = catalog.transaction(lambda cursor: associations.origin(cursor, wanted.association))
    if origin is None:
        raise UnknownAssociationError(f"{wanted.association} is not in the catalog: register it first")
    listed = _list_slice(storage, wanted, origin)
    objects = _look_at(storage, listed, default_issuer(issuers, wanted.edge, origin.calling_ae))
    catalog.transaction(lambda cursor: write_indexed(cursor, objects))
    indexed = sum(isinstance(one.outcome, Described) for one in objects)
    return SliceResult(
        indexed=indexed,
        not_indexed=len(objects) - indexed,
        fetched_bytes=sum(one.header_bytes for one in objects),
    )


def _list_slice(storage: Storage, wanted: Slice, origin: Origin) -> list[Listed]:
    """The slice's objects as the manifest lists them. Raises ContractError when the part is shorter."""
    listed = list_part(
        storage,
        wanted.bucket,
        wanted.edge,
        wanted.association,
        wanted.part,
        origin=origin,
        first=wanted.first,
        count=wanted.count,
    )
    if len(listed) != wanted.count:
        raise ContractError(f"slice: part {wanted.part} ends before object {wanted.first + wanted.count}")
    return listed


def _look_at(storage: Storage, listed: Sequence[Listed], issuer: str) -> list[IndexedObject]:
    """The outcome for each object: many at once, to wait for S3 once only."""

    def look_at(one: Listed) -> IndexedObject:
        def read_range(first: int, count: int) -> bytes:
            return storage.read_range(one.bucket, one.entry.key, first, count)

        looked = look(read_range, one.entry.size_bytes, object_order=one.object_order, listed=one.entry, issuer=issuer)
        return IndexedObject(listed=one, header_bytes=looked.header_bytes, outcome=looked.outcome)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(look_at, listed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What an object says, or why it could not be read; and what its header cost."""

    outcome: Described | str
    transfer_syntax_uid: str = ""
    header_bytes: int = 0


def look(read_range: ReadRange, size_bytes: int, *, object_order: str, listed: Entry | None = None, issuer: str) -> Looked:
    """Read and describe one object. Raises those of Storage, but for an object that is not there.

    It is described as soon as it is read, so that no more headers are in memory than are read at once; one at a time, since
    pydicom's settings are the process's.
    """
    with ExitStack() as held:
        try:
            header = read_header(read_range, size_bytes, TAGS, before_large=lambda: held.enter_context(_large))
        except UnreadableError as error:
            return Looked(outcome=str(error))
        except StorageNotFoundError:
            return Looked(outcome="S3 has no such object")
        outcome: Described | str
        try:
            with _describing:
                outcome = describe(header, object_order=object_order, listed=listed, default_issuer=issuer)
        except UnreadableError as error:
            outcome = str(error)
    return Looked(outcome=outcome, transfer_syntax_uid=header.transfer_syntax_uid, header_bytes=header.fetched_bytes)
