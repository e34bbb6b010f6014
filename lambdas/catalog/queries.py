"""What people ask the catalog, read-only. Results may hold patients' names: they are for a screen, never for a log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from lambdas.catalog import conflicts, ledger, orphans
from lambdas.catalog.conflicts import ListedConflict
from lambdas.catalog.connection import Catalog, CatalogSettings
from lambdas.catalog.keys import uid_column
from lambdas.catalog.ledger import LedgerCounts
from lambdas.catalog.orphans import ListedOrphan


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A line of the view `study_list`."""

    patient_id: str | None
    patient_name: str | None
    study_instance_uid: str
    study_date: date | None
    study_description: str | None
    accession_number: str | None
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
    imported_count: int
    image_set_ids: tuple[str, ...]
    image_set_count: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """An association, with how far it has come. Times are UTC; what is None came with no manifest that could be read."""

    association: str
    edge: str
    sequence: int
    sent_at_ms: int
    bucket: str
    calling_ae: str | None
    called_ae: str | None
    peer: str | None
    started_at: datetime | None
    ended_at: datetime | None
    ending: str
    objects: int
    quarantined: int
    parts: int | None
    identical_repeats: int | None
    size_bytes: int
    status: str
    error: str | None
    execution_arn: str | None
    redrive_count: int
    registered_at: datetime
    status_changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of several associations that share a manifest and an execution. `objects` counts what it brought, repeats and all."""

    member: str
    started_at: datetime
    ended_at: datetime
    ending: str
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A row of the ledger: an S3 object and what became of it."""

    s3_key: str
    part: int | None
    position: int | None
    size_bytes: int | None
    digest: str | None
    sop_class_uid: str | None
    sop_instance_uid: str | None
    study_instance_uid: str | None
    series_instance_uid: str | None
    transfer_syntax_uid: str | None
    quarantine_reason: str | None
    is_foreign: bool
    indexed_at: datetime | None
    not_indexed_reason: str | None
    import_job_id: str | None
    import_status: str | None
    image_set_id: str | None
    image_set_version: int | None
    image_set_is_primary: bool | None
    import_warnings: tuple[dict[str, Any], ...]
    import_fault: str | None
    import_error: str | None
    import_error_message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob:
    """An attempt to import a part. `error` is what ended it, or what its execution failed by."""

    association: str
    part: int
    attempt: int
    client_token: str
    job_id: str | None
    status: str
    execution_arn: str
    input_s3_uri: str
    output_s3_uri: str
    claimed_at: datetime
    submitted_at: datetime | None
    ended_at: datetime | None
    scanned: int | None
    imported: int | None
    failed: int | None
    warned: int | None
    foreign_objects: int | None
    image_sets: int | None
    error: str | None
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """An image set in HealthImaging, as the last job that touched it reported it."""

    image_set_id: str
    datastore_id: str
    study_instance_uid: str | None
    series_instance_uid: str | None
    image_set_version: int | None
    is_primary: bool | None
    association: str
    import_job_id: str
    recorded_at: datetime


_STUDIES = """
SELECT patient_id, patient_name, study_instance_uid, study_date, study_description, accession_number, modalities,
       series_count, instance_count, imported_count, image_set_ids, image_set_count, status
FROM study_list
WHERE study_instance_uid IN %s
ORDER BY study_date DESC, study_instance_uid
"""
# Asked first, since MySQL makes a view of subqueries for all studies before it takes the first of them.
_NEWEST_STUDIES = "SELECT study_instance_uid FROM study ORDER BY study_date DESC, study_instance_uid LIMIT %s"

_ASSOCIATION_COLUMNS = """
SELECT association, edge, `sequence`, sent_at_ms, bucket, calling_ae, called_ae, peer, started_at, ended_at, ending, objects,
       quarantined, parts, identical_repeats, size_bytes, status, error, execution_arn, redrive_count, registered_at,
       status_changed_at
FROM association
"""
_ASSOCIATION = f"""{_ASSOCIATION_COLUMNS}
WHERE association = COALESCE((SELECT association FROM association_member WHERE member = %(id)s), %(id)s)
"""  # noqa: S608 - of constants
_MEMBERS = """
SELECT member, started_at, ended_at, ending, objects
FROM association_member
WHERE association = %s
ORDER BY position
"""
_ASSOCIATIONS = (
    f"{_ASSOCIATION_COLUMNS} WHERE %(status)s IS NULL OR status = %(status)s ORDER BY sent_at_ms DESC LIMIT %(limit)s"
)

# By a study: of its objects in the ledger. By an error: the association's own, or that of one of its imports.
_SELECTED = f"""{_ASSOCIATION_COLUMNS}
WHERE (%(study)s IS NULL OR association IN (SELECT association FROM stored_object WHERE study_instance_uid = %(study)s))
  AND (%(since)s IS NULL OR status_changed_at >= %(since)s)
  AND (%(error)s IS NULL OR error = %(error)s
       OR association IN (SELECT association FROM import_job WHERE error = %(error)s))
  AND (NOT %(only_failed)s OR status NOT IN ('REGISTERED', 'RUNNING', 'COMPLETE'))
ORDER BY sent_at_ms, `sequence`
"""  # noqa: S608 - of constants

_STORED_OBJECT_COLUMNS = """
SELECT s3_key, part, position, size_bytes, digest, sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid,
       transfer_syntax_uid, quarantine_reason, is_foreign, indexed_at, not_indexed_reason, import_job_id, import_status,
       image_set_id, image_set_version, image_set_is_primary, import_warnings, import_fault, import_error, import_error_message
FROM stored_object
"""
_STORED_OBJECTS = f"""{_STORED_OBJECT_COLUMNS}
WHERE association = %(association)s
  AND (NOT %(only_failed)s OR quarantine_reason IS NOT NULL OR is_foreign = 1 OR not_indexed_reason IS NOT NULL
       OR indexed_at IS NULL OR import_status IS NULL OR import_status <> 'IMPORTED')
ORDER BY is_foreign, part, position, s3_key
"""
# Of associations: objects under external/, which are in no part, are not to be imported.
_STORED_OBJECTS_OF_STUDY = f"{_STORED_OBJECT_COLUMNS} WHERE study_instance_uid = %s AND part IS NOT NULL"
_STUDIES_OF_ASSOCIATION = """
SELECT DISTINCT study_instance_uid
FROM stored_object
WHERE association = %s AND study_instance_uid IS NOT NULL
ORDER BY study_instance_uid
"""

_IMPORT_JOBS = """
SELECT association, part, attempt, client_token, job_id, status, execution_arn, input_s3_uri, output_s3_uri, claimed_at,
       submitted_at, ended_at, scanned, imported, failed, warned, foreign_objects, image_sets, error, cause
FROM import_job
WHERE association = %s
ORDER BY part, attempt
"""

_IMAGE_SET_COLUMNS = """
SELECT image_set_id, datastore_id, study_instance_uid, series_instance_uid, image_set_version, is_primary, association,
       import_job_id, recorded_at
FROM image_set
"""
_IMAGE_SETS_OF_STUDY = f"{_IMAGE_SET_COLUMNS} WHERE study_instance_uid = %s"
# An image set that a later association has added to is still one of this association's.
_IMAGE_SETS = f"""{_IMAGE_SET_COLUMNS}
WHERE association = %(association)s
   OR image_set_id IN (SELECT image_set_id FROM stored_object WHERE association = %(association)s)
ORDER BY study_instance_uid, series_instance_uid, image_set_id
"""  # noqa: S608 - of constants


class Queries:
    """Questions to one catalog. All raise CatalogUnavailableError or CatalogRefusedError. Not for sharing between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def study_list(self, limit: int = 100) -> list[Study]:
        """The latest studies, by study date."""
        newest = [row["study_instance_uid"] for row in self._rows(_NEWEST_STUDIES, (limit,))]
        if not newest:
            return []
        return [
            Study(
                **row
                | {
                    "modalities": tuple(filter(None, (row["modalities"] or "").split(","))),
                    "image_set_ids": tuple(sorted(json.loads(row["image_set_ids"] or "[]"))),
                }
            )
            for row in self._rows(_STUDIES, (newest,))
        ]

    def association(self, association: str) -> Association | None:
        """The association of this id, or that of which it is a member; None when the catalog does not know it."""
        rows = self._rows(_ASSOCIATION, {"id": association})
        return Association(**rows[0]) if rows else None

    def members(self, association: str) -> list[Member]:
        """The associations that share its manifest, itself first; none when it has that to itself."""
        return [Member(**row) for row in self._rows(_MEMBERS, (association,))]

    def associations(self, limit: int = 100, status: str | None = None) -> list[Association]:
        """The latest associations, by when their message was sent; of one status when it is given."""
        return [Association(**row) for row in self._rows(_ASSOCIATIONS, {"limit": limit, "status": status})]

    def selected(
        self, *, study_instance_uid: str | None = None, since: datetime | None = None, error: str | None = None
    ) -> list[Association]:
        """The associations that meet all that is given, in their order in time.

        With a study, all that brought objects of it; otherwise those that have failed. `since` (UTC) is when the status
        changed; `error` is the association's or that of one of its imports.
        """
        arguments = {
            "study": uid_column(study_instance_uid) if study_instance_uid else None,
            "since": since,
            "error": error,
            "only_failed": study_instance_uid is None,
        }
        return [Association(**row) for row in self._rows(_SELECTED, arguments)]

    def ledger(self, association: str) -> LedgerCounts | None:
        """The sums that decide the verdict, or None when the catalog does not know the association."""
        return self._catalog.transaction(lambda cursor: ledger.counts(cursor, association))

    def stored_objects(self, association: str, *, only_failed: bool = False) -> list[StoredObject]:
        """The ledger of an association, in the manifest's order; `only_failed`: what is not indexed and imported."""
        rows = self._rows(_STORED_OBJECTS, {"association": association, "only_failed": only_failed})
        return [_stored_object(row) for row in rows]

    def stored_objects_of_study(self, study_instance_uid: str) -> list[StoredObject]:
        """The ledger's rows of a study, of every association that brought some."""
        return [_stored_object(row) for row in self._rows(_STORED_OBJECTS_OF_STUDY, (uid_column(study_instance_uid),))]

    def studies_of(self, association: str) -> list[str]:
        """The UIDs of the studies that an association brought objects of."""
        return [row["study_instance_uid"] for row in self._rows(_STUDIES_OF_ASSOCIATION, (association,))]

    def import_jobs(self, association: str) -> list[ImportJob]:
        """Every attempt to import the association's parts, in order."""
        return [ImportJob(**row) for row in self._rows(_IMPORT_JOBS, (association,))]

    def image_sets(self, association: str) -> list[ImageSet]:
        """The image sets that hold objects of the association."""
        return [_image_set(row) for row in self._rows(_IMAGE_SETS, {"association": association})]

    def image_sets_of_study(self, study_instance_uid: str) -> list[ImageSet]:
        """The image sets of a study."""
        return [_image_set(row) for row in self._rows(_IMAGE_SETS_OF_STUDY, (uid_column(study_instance_uid),))]

    def orphans(self, *, settled: bool = False) -> list[ListedOrphan]:
        """What the sweep found astray and nobody has settled; with `settled`, also what was."""
        return self._catalog.transaction(lambda cursor: orphans.listed(cursor, settled=settled))

    def conflicts(self, limit: int = 100) -> Sequence[ListedConflict]:
        """The parents of UIDs that were sent under several."""
        return self._catalog.transaction(lambda cursor: conflicts.listed(cursor, limit))

    def close(self) -> None:
        self._catalog.close()

    def _rows(self, sql: str, arguments: dict[str, Any] | tuple[object, ...]) -> list[dict[str, Any]]:
        return self._catalog.transaction(lambda cursor: cursor.rows(sql, arguments))


def connect(settings: CatalogSettings) -> Queries:
    """Questions to the catalog at `settings`; connects at the first one."""
    return Queries(Catalog(lambda: settings))


def _stored_object(row: dict[str, Any]) -> StoredObject:
    return StoredObject(
        **row
        | {
            "is_foreign": bool(row["is_foreign"]),
            "image_set_is_primary": _flag(row["image_set_is_primary"]),
            "import_warnings": tuple(json.loads(row["import_warnings"] or "[]")),
        }
    )


def _image_set(row: dict[str, Any]) -> ImageSet:
    return ImageSet(**row | {"is_primary": _flag(row["is_primary"])})


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
