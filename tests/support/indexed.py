"""Objects as indexing found them, made to say what a test wants, without S3 and without DICOM."""

from __future__ import annotations

from datetime import UTC, datetime

from contract.manifest import Entry
from lambdas.catalog.attributes import Level
from lambdas.catalog.objects import Described, IndexedObject, LevelValues, Listed

INDEX_TABLES = ("stored_object", "patient", "study", "series", "instance", "conflict", "change_log")


def made_object(
    number: int,
    *,
    order: str,
    association: str = "A",
    series: str = "3.1",
    study: str = "2.1",
    patient: str = "a",
    text: str | None = "",
    has_id: bool = True,
) -> IndexedObject:
    """Instance `4.<number>`. `text` is its patient's name, its descriptions and its image type; `order` all of its orders."""
    entry = Entry(
        key=f"instances/{number}-{order}",
        size_bytes=1,
        digest="0" * 64,
        sop_class_uid="1.2",
        sop_instance_uid=f"4.{number}",
        study_instance_uid=study,
        series_instance_uid=series,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        received_at=datetime(2026, 11, 24, tzinfo=UTC),
        supersedes=False,
    )
    values = {
        Level.PATIENT: {"patient_name": text},
        Level.STUDY: {"study_description": text},
        Level.SERIES: {"series_description": text},
        Level.INSTANCE: {"image_type": text},
    }
    return IndexedObject(
        listed=Listed(association=association, bucket="b", part=1, position=number, entry=entry, object_order=order),
        header_bytes=1,
        outcome=Described(
            sop_instance_uid=f"4.{number}",
            sop_class_uid="1.2",
            series_instance_uid=series,
            study_instance_uid=study,
            patient_key=patient * 64,
            has_patient_id=has_id,
            levels={level: LevelValues(values=said, described_order=order) for level, said in values.items()},
        ),
    )
