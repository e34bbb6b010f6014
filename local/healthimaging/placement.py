"""How imported objects become image sets.

- Objects that agree in every patient, study and series attribute (headers.py) share an image set.
- The first set of a series is its primary set, version 1, unless it disagrees with a primary set of its study.
- More objects that agree with the primary set, new or again, make its next version; the newest copy of an instance wins.
- Objects that disagree make a new, non-primary set for each job: nothing is ever merged into a non-primary set.
- Objects with which an image set would have too much metadata are refused, all of them that the job brings for it.

Source: AWS HealthImaging Developer Guide, "Understanding image sets". It groups by StudyDate, AccessionNumber, PatientID,
StudyInstanceUID, StudyID, SeriesInstanceUID and SeriesNumber, and calls a difference in any normalized attribute a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.healthimaging.store import new_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from local.healthimaging.headers import Header


@dataclass(frozen=True)
class ImageSet:
    """An image set as one job left it, with the keys of that job's objects that it holds."""

    id: str
    version: int
    is_primary: bool
    keys: tuple[str, ...]


# Of the newest copy of each instance.
_METADATA_BYTES = (
    "SELECT sum(length(CAST(attributes AS BLOB))) FROM instance AS this WHERE image_set_id = :id AND version ="
    " (SELECT max(version) FROM instance WHERE image_set_id = :id AND sop_instance_uid = this.sop_instance_uid)"
)


@dataclass(frozen=True)
class _Metadata:
    patient: str
    study: str
    series: str


def place(
    db: sqlite3.Connection, datastore_id: str, headers: Sequence[Header], now: float, *, max_metadata_bytes: int
) -> tuple[list[ImageSet], list[str]]:
    """Put the objects of one job, in the order of their keys, into image sets: these, and the keys of what was refused.

    To be called once per job, in a transaction.
    """
    groups: dict[_Metadata, list[Header]] = {}
    for header in headers:
        metadata = _Metadata(_canonical(header.patient), _canonical(header.study), _canonical(header.series))
        groups.setdefault(metadata, []).append(header)
    placed: list[ImageSet] = []
    refused: list[str] = []
    for metadata, group in groups.items():
        db.execute("SAVEPOINT image_set")
        image_set = _place_group(db, datastore_id, metadata, group, now)
        (metadata_bytes,) = db.execute(_METADATA_BYTES, {"id": image_set.id}).fetchone()
        if metadata_bytes > max_metadata_bytes:
            db.execute("ROLLBACK TO image_set")
            refused += image_set.keys
        else:
            placed.append(image_set)
        db.execute("RELEASE image_set")
    return placed, refused


def _place_group(
    db: sqlite3.Connection, datastore_id: str, metadata: _Metadata, group: Sequence[Header], now: float
) -> ImageSet:
    study_uid, series_uid = group[0].study["StudyInstanceUID"], group[0].series["SeriesInstanceUID"]
    primaries = db.execute(
        "SELECT * FROM image_set WHERE datastore_id = ? AND study_uid = ? AND is_primary = 1", (datastore_id, study_uid)
    ).fetchall()
    own = next((row for row in primaries if row["series_uid"] == series_uid), None)
    conflict = any((row["patient"], row["study"]) != (metadata.patient, metadata.study) for row in primaries) or (
        own is not None and own["series"] != metadata.series
    )
    if own is not None and not conflict:
        image_set_id, version = str(own["id"]), int(own["version"]) + 1
        db.execute("UPDATE image_set SET version = ?, updated_at = ? WHERE id = ?", (version, now, image_set_id))
    else:
        image_set_id, version = new_id(), 1
        db.execute(
            "INSERT INTO image_set VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(image_set_id, datastore_id, study_uid, series_uid, not conflict, version),
                *(metadata.patient, metadata.study, metadata.series, now, now),
            ),
        )
    db.execute("INSERT INTO image_set_version VALUES (?, ?, ?)", (image_set_id, version, now))
    db.executemany(
        "INSERT OR REPLACE INTO instance VALUES (?, ?, ?, ?, ?)",
        [
            (
                *(image_set_id, header.instance["SOPInstanceUID"], version),
                *(header.stored_transfer_syntax_uid, _canonical(header.instance)),
            )
            for header in group
        ],
    )
    return ImageSet(image_set_id, version, not conflict, tuple(header.key for header in group))


def _canonical(attributes: Mapping[str, str]) -> str:
    return json.dumps(attributes, sort_keys=True, ensure_ascii=False)
