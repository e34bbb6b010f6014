"""Every way a function fails, named by what the caller can do about it.

Step Functions matches `ErrorEquals` with Lambda's errorType, which is the exception's class name: so the classes here bear
the dotted names that stand in the state machines. Texts go to logs and to execution histories: they carry UIDs, ids, counts
and error codes, never the value of an attribute, and never a statement's parameters.

    IngestError
    ├── Catalog.Unavailable      MySQL cannot be reached, is read-only, or locks stayed taken      retry for minutes
    ├── Catalog.Refused          MySQL refused a statement                                         a fault to mend
    ├── Storage.Unavailable      S3, Secrets Manager or Step Functions is away or throttles        retry for minutes
    ├── Storage.NotFound         no such object                                                    look for it
    ├── Storage.Refused          AWS refused the request                                           a grant to mend
    ├── Ingest.AlreadyRunning    another execution of this association runs                        wait for it
    ├── Ingest.Incomplete        every object is accounted for; some were not imported or indexed  replay those
    ├── Ingest.LedgerMismatch    the objects recorded are not those that the manifest lists        look, then replay
    ├── Ingest.UnknownAssociation  no such row: it was never registered                            start its execution
    └── Import.OutputsMissing    the job ended and its outputs are not there yet                   retry for minutes

Beside these, `ContractError` (contract.strict) says that a document or a payload does not keep the contract: no retry helps.
Nothing of pymysql, botocore or pydicom leaves `lambdas.logic`.
"""

from __future__ import annotations


class IngestError(Exception):
    """The base of all, never raised itself."""

    def __init_subclass__(cls, *, named: str) -> None:
        super().__init_subclass__()
        cls.__name__ = cls.__qualname__ = named


class CatalogUnavailableError(IngestError, named="Catalog.Unavailable"):
    """MySQL cannot be reached, is read-only, or locks stayed taken through every retry."""


class CatalogRefusedError(IngestError, named="Catalog.Refused"):
    """MySQL refused a statement: a missing table or grant, or a value that does not fit. No retry helps."""


class StorageUnavailableError(IngestError, named="Storage.Unavailable"):
    """AWS is away, throttles, or broke off: 5xx, SlowDown, a connection that failed."""


class StorageNotFoundError(IngestError, named="Storage.NotFound"):
    """There is no such object."""


class StorageRefusedError(IngestError, named="Storage.Refused"):
    """AWS refused the request: AccessDenied, NoSuchBucket, an invalid argument."""


class AlreadyRunningError(IngestError, named="Ingest.AlreadyRunning"):
    """Another execution holds this association's lease, and still runs."""


class IncompleteError(IngestError, named="Ingest.Incomplete"):
    """All objects are accounted for; some were quarantined, refused by HealthImaging, or could not be indexed."""


class LedgerMismatchError(IngestError, named="Ingest.LedgerMismatch"):
    """The objects recorded are not those that the manifest lists."""


class UnknownAssociationError(IngestError, named="Ingest.UnknownAssociation"):
    """The catalog has no row of this association, or of this attempt to import it."""


class OutputsMissingError(IngestError, named="Import.OutputsMissing"):
    """HealthImaging says COMPLETED, and has not written the job's output manifest yet."""
