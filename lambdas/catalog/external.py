"""Rows of the ledger for objects that came without the receiver: under `external/`, by DataSync, Storage Gateway or Snow.

A row is a version of an S3 object: versions never change, so an event may come again, late, or out of order. All stand under
the association `external`, which has no row of its own, no part and no manifest.

Which of two objects with one UID counts is decided as among associations, by time: that at which S3 finished the upload. The
versions of one key are in the order of S3's `sequencer`, whatever their times. So are its removals, each of which is kept in
`external_removal`: its event may come before that of what it removed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from lambdas.catalog.connection import Cursor
from lambdas.catalog.keys import object_hash
from lambdas.catalog.objects import IndexedObject, write_indexed

EXTERNAL = "external"
"""What stands for the association's id, and for the edge's where a default issuer is asked for."""

_VERSIONS = "SELECT object_hash, sequencer, object_order FROM stored_object WHERE key_hash = %s AND object_order IS NOT NULL"

_SET_VERSION = """
UPDATE stored_object
SET removed_at = IF(sequencer <=> %(sequencer)s, removed_at, NULL),
    version_id = %(version_id)s, sequencer = %(sequencer)s, key_hash = %(key_hash)s
WHERE object_hash = %(object_hash)s
"""

_REMOVAL = """
INSERT INTO external_removal (removed_hash, sequencer, removed_at)
VALUES (%s, %s, %s)
ON DUPLICATE KEY UPDATE removed_at = VALUES(removed_at)
"""

# A creation and a removal of one key may be written at once. Each writes its own, and then waits for the other's: whichever
# looks last sees both. Without this a subquery reads past what is not committed, and so does an UPDATE without an index.
_WAIT_FOR_VERSIONS = "SELECT object_hash FROM stored_object WHERE key_hash = %s FOR UPDATE"
_WAIT_FOR_REMOVALS = "SELECT sequencer FROM external_removal WHERE removed_hash IN %s FOR UPDATE"

# COALESCE for rows that were removed before removals were kept.
_MARK_REMOVED = """
UPDATE stored_object
SET removed_at = COALESCE(
    (SELECT MIN(external_removal.removed_at)
        FROM external_removal
        WHERE external_removal.removed_hash IN (stored_object.key_hash, stored_object.object_hash)
          AND external_removal.sequencer > stored_object.sequencer),
    removed_at)
WHERE key_hash = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of an S3 object, as an event tells of it.

    `version_id` is None in a bucket without versions, where a key has one row. `at` is when S3 finished the request (UTC).
    """

    bucket: str
    key: str
    version_id: str | None
    sequencer: str
    size_bytes: int
    at: datetime

    @property
    def key_hash(self) -> str:
        return object_hash(self.bucket, self.key)

    @property
    def object_hash(self) -> str:
        if self.version_id is None:
            return self.key_hash
        return hashlib.sha256(f"{self.key_hash}\0{self.version_id}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalObject:
    """A version as the ledger has it. UIDs are columns' values, None where the object could not be read."""

    version: Version
    object_order: str
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    transfer_syntax_uid: str | None = None

    @property
    def association(self) -> str:
        return EXTERNAL

    @property
    def object_hash(self) -> str:
        return self.version.object_hash

    def row(self) -> tuple[object, ...]:
        """The values of LISTED_COLUMNS: without part, position, digest, and UIDs as received."""
        return (
            *(self.object_hash, EXTERNAL, None, None, self.version.bucket, self.version.key, self.version.size_bytes, None),
            *(self.sop_class_uid, self.sop_instance_uid, self.study_instance_uid, self.series_instance_uid),
            *(self.transfer_syntax_uid, None, self.version.at),
        )


def order(cursor: Cursor, version: Version) -> str | None:
    """The version's order; None when it was overwritten in a bucket without versions, so that it cannot be read any more.

    That is the time at which it came, moved between those of the key's other versions where it contradicts the sequencers,
    and then the sequencer, which compares as text (S3 user guide, "Event message structure": padded on the right).
    """
    at_ms = int(version.at.timestamp() * 1000)
    for row in cursor.rows(_VERSIONS, (version.key_hash,)):
        other_ms, is_later = int(row["object_order"].split(".")[0]), row["sequencer"] > version.sequencer
        if row["sequencer"] == version.sequencer:
            return str(row["object_order"])
        if is_later and row["object_hash"] == version.object_hash:
            return None
        at_ms = min(at_ms, other_ms) if is_later else max(at_ms, other_ms)
    return f"{at_ms:015d}.{0:012d}.{EXTERNAL}-{version.key_hash[:8]}-{version.sequencer}.{0:06d}.{0:06d}"


def write(cursor: Cursor, indexed: IndexedObject, version: Version) -> None:
    """Upsert the rows of one version, and what events say of it: its own, and those of later removals that came before it."""
    write_indexed(cursor, [indexed])
    cursor.execute(
        _SET_VERSION,
        {
            "object_hash": version.object_hash,
            "version_id": version.version_id,
            "sequencer": version.sequencer,
            "key_hash": version.key_hash,
        },
    )
    cursor.rows(_WAIT_FOR_REMOVALS, ([version.key_hash, version.object_hash],))
    cursor.execute(_MARK_REMOVED, (version.key_hash,))


def remove(cursor: Cursor, removed: Version, *, hides_all: bool) -> None:
    """Note that a version was deleted, or that a delete marker hides all before it: those that are known, and those whose
    events are still to come. The rows stay: the catalog forgets nothing.
    """
    removed_hash = removed.key_hash if hides_all else removed.object_hash
    cursor.execute(_REMOVAL, (removed_hash, removed.sequencer, removed.at))
    cursor.rows(_WAIT_FOR_VERSIONS, (removed.key_hash,))
    cursor.execute(_MARK_REMOVED, (removed.key_hash,))
