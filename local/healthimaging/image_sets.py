"""The operations on image sets, on plain dictionaries: what server.py answers over HTTP.

Each checks fields, then existence, then what is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.healthimaging import readback
from local.healthimaging.datastores import require_active
from local.healthimaging.errors import not_found
from local.healthimaging.search import Search
from local.healthimaging.validation import Body, Page, check

if TYPE_CHECKING:
    import sqlite3

    from local.healthimaging.events import ServiceEvents
    from local.healthimaging.store import Store

Answer = dict[str, Any]

# An instance, as it was in a version: its newest copy up to then.
_INSTANCES = (
    "SELECT * FROM instance AS this WHERE image_set_id = :id AND version = (SELECT max(version) FROM instance"
    " WHERE image_set_id = :id AND sop_instance_uid = this.sop_instance_uid AND version <= :version)"
)


class ImageSets:
    def __init__(self, *, store: Store, events: ServiceEvents) -> None:
        self._store = store
        self._events = events

    def get(self, datastore_id: str, image_set_id: str, version_id: str | None) -> Answer:
        """GetImageSet: the newest version, unless another is asked for."""
        with self._store.transaction() as db:
            image_set, version = self._find(db, datastore_id, image_set_id, version_id)
        return {
            "datastoreId": datastore_id,
            **readback.properties(image_set, version),
            "imageSetWorkflowStatus": readback.workflow_status(version["version"]),
            "imageSetArn": readback.arn_of(datastore_id, image_set_id),
            "storageTier": "FREQUENT_ACCESS",
        }

    def metadata(self, datastore_id: str, image_set_id: str, version_id: str | None) -> bytes:
        """GetImageSetMetadata: the metadata document, gzip-compressed."""
        with self._store.transaction() as db:
            image_set, version = self._find(db, datastore_id, image_set_id, version_id)
            asked = {"id": image_set_id, "version": version["version"]}
            instances = db.execute(_INSTANCES, asked).fetchall()
        return readback.metadata_blob(image_set, instances)

    def versions(self, datastore_id: str, image_set_id: str, page: Page) -> Answer:
        """ListImageSetVersions, newest first."""
        with self._store.transaction() as db:
            image_set, _ = self._find(db, datastore_id, image_set_id, None)
            rows = db.execute(
                "SELECT * FROM image_set_version WHERE image_set_id = ? ORDER BY version DESC LIMIT ? OFFSET ?",
                (image_set_id, page.size + 1, page.offset),
            ).fetchall()
        listed = [
            {
                **readback.properties(image_set, row),
                "ImageSetWorkflowStatus": readback.workflow_status(row["version"]),  # capital I: the service's own spelling
            }
            for row in page.of(rows)
        ]
        return {"imageSetPropertiesList": listed} | page.next(len(rows))

    def search(self, datastore_id: str, criteria: Body, page: Page) -> Answer:
        """SearchImageSets."""
        check("datastoreId", datastore_id)
        search = Search.of(criteria)
        with self._store.transaction() as db:
            require_active(db, datastore_id)
            rows = db.execute("SELECT * FROM image_set WHERE datastore_id = ? ORDER BY id", (datastore_id,)).fetchall()
        found = search.find(rows)[page.offset : page.offset + page.size + 1]
        summaries = [readback.summary(row) for row in page.of(found)]
        return {"imageSetsMetadataSummaries": summaries, "sort": search.sort} | page.next(len(found))

    def delete(self, datastore_id: str, image_set_id: str) -> Answer:
        """DeleteImageSet, with all of its versions. It is gone at once."""
        with self._store.transaction() as db:
            image_set, version = self._find(db, datastore_id, image_set_id, None)
            for table, key in (("instance", "image_set_id"), ("image_set_version", "image_set_id"), ("image_set", "id")):
                db.execute(f"DELETE FROM {table} WHERE {key} = ?", (image_set_id,))  # noqa: S608 - names from the line above
        for what, state in (("Deleting", "LOCKED"), ("Deleted", "DELETED")):
            self._events.image_set(
                datastore_id,
                image_set_id,
                version=version["version"],
                is_primary=bool(image_set["is_primary"]),
                what=what,
                state=state,
            )
        return {
            "datastoreId": datastore_id,
            "imageSetId": image_set_id,
            "imageSetState": "LOCKED",
            "imageSetWorkflowStatus": "DELETING",
        }

    @staticmethod
    def _find(
        db: sqlite3.Connection, datastore_id: str, image_set_id: str, version_id: str | None
    ) -> tuple[sqlite3.Row, sqlite3.Row]:
        """The image set, and the version asked for. Raises ServiceError."""
        check("datastoreId", datastore_id)
        check("imageSetId", image_set_id)
        if version_id is not None:
            check("versionId", version_id)
        require_active(db, datastore_id)
        image_set: sqlite3.Row | None = db.execute(
            "SELECT * FROM image_set WHERE id = ? AND datastore_id = ?", (image_set_id, datastore_id)
        ).fetchone()
        if image_set is None:
            raise not_found("image set")
        version: sqlite3.Row | None = db.execute(
            "SELECT * FROM image_set_version WHERE image_set_id = ? AND version = ?",
            (image_set_id, image_set["version"] if version_id is None else int(version_id)),
        ).fetchone()
        if version is None:
            raise not_found("version of the image set")
        return image_set, version
