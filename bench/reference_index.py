"""The reference's way to index, rebuilt from its description: whole objects, procedures that commit statement by statement.

What aws-healthimaging-samples' ingestion does in its indexing Lambda: for each batch of messages a new session with AWS, the
database's secret from it, and a new connection; for each object a download of all of it, pydicom's reading of all of it, and
one call of a procedure that looks up, and inserts or updates, patient, study, series and instance in turn, each found by a
value of its own, and counts what is new. It commits every statement by itself. Its values are texts of 255 characters.
"""

# ruff: noqa: S608 - SQL of constants

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pymysql
from pydicom import dcmread
from pydicom.dataset import Dataset

from lambdas.catalog import CatalogSettings
from local.aws import Aws

OBJECTS_A_BATCH = 40  # the reference's own batch size
_SECRET = "reference"  # noqa: S105 - the secret's name

_LEVELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "patient": ("PatientID", ("PatientName", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")),
    "study": (
        "StudyInstanceUID",
        (
            *("AccessionNumber", "NameOfPhysiciansReadingStudy", "StudyDate", "StudyTime", "ReferringPhysicianName"),
            *("ConsultingPhysicianName", "StudyDescription", "SpecificCharacterSet", "StudyID"),
        ),
    ),
    "series": (
        "SeriesInstanceUID",
        (
            *("SeriesTime", "SeriesDate", "SeriesDescription", "SeriesNumber", "Modality", "PerformingPhysicianName"),
            *("AnatomicalOrientationType", "BodyPartExamined", "ProtocolName", "PatientPosition"),
        ),
    ),
    "instance": (
        "SOPInstanceUID",
        (
            *("InstanceCreationDate", "ImageType", "InstanceCreationTime", "SOPClassUID", "InstanceNumber"),
            *("ImageOrientationPatient", "ImagePositionPatient", "AcquisitionTime", "AcquisitionDate", "ContentDate"),
            *("AcquisitionNumber", "PatientOrientation", "ImageComments", "SamplesPerPixel", "PhotometricInterpretation"),
            *("Rows", "Columns", "BitsAllocated", "HighBit", "PixelRepresentation", "RescaleIntercept", "RescaleSlope"),
        ),
    ),
}
_PARENTS = {"patient": None, "study": "patient", "series": "study", "instance": "series"}
_TEXT = "VARCHAR(255)"


def create(connection: pymysql.Connection[Any]) -> None:
    """Make the tables and the procedure, in a database of their own."""
    with connection.cursor() as cursor:
        for level, (key, names) in _LEVELS.items():
            columns = "".join(f", `{name}` {_TEXT}" for name in names)
            parent = f", {_PARENTS[level]}_row BIGINT NOT NULL, KEY ({_PARENTS[level]}_row)" if _PARENTS[level] else ""
            counted = ", images INT NOT NULL DEFAULT 0" if level in ("study", "series") else ""
            location = f", bucket {_TEXT}, object_key {_TEXT}" if level == "instance" else ""
            cursor.execute(
                f"CREATE TABLE {level} ({level}_row BIGINT AUTO_INCREMENT PRIMARY KEY, `{key}` {_TEXT} UNIQUE"
                f"{columns}{counted}{location}{parent})"
            )
        cursor.execute(_procedure())


def _procedure() -> str:
    parameters = [f"`in_{name}` {_TEXT}" for key, names in _LEVELS.values() for name in (key, *names)]
    body = ["DECLARE is_new INT DEFAULT 0", *(f"DECLARE found_{level} BIGINT DEFAULT NULL" for level in _LEVELS)]
    for level in _LEVELS:
        body += _look_up_and_write(level)
    body += [
        f"IF is_new = 1 THEN UPDATE {level} SET images = images + 1 WHERE {level}_row = found_{level}; END IF"
        for level in ("series", "study")
    ]
    listed = ", ".join([*parameters, f"in_bucket {_TEXT}", f"in_object_key {_TEXT}"])
    return f"CREATE PROCEDURE index_object ({listed}) BEGIN {'; '.join(body)}; END"


def _look_up_and_write(level: str) -> list[str]:
    key, names = _LEVELS[level]
    values = {f"`{name}`": f"`in_{name}`" for name in (key, *names)}
    updated = ", ".join(f"`{name}` = `in_{name}`" for name in names)
    if parent := _PARENTS[level]:
        values[f"{parent}_row"] = f"found_{parent}"
    if level == "instance":
        values |= {"bucket": "in_bucket", "object_key": "in_object_key"}
    insert = f"INSERT INTO {level} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    found = f"SET found_{level} = LAST_INSERT_ID(), is_new = {int(level == 'instance')}"
    update = f"UPDATE {level} SET {updated} WHERE {level}_row = found_{level}"
    return [
        f"SELECT {level}_row INTO found_{level} FROM {level} WHERE `{key}` = `in_{key}`",
        f"IF found_{level} IS NULL THEN {insert}; {found}; ELSE {update}; END IF",
    ]


def fill(connection: pymysql.Connection[Any], rows: int) -> None:
    """Bring the table of instances to `rows` rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instance (SOPInstanceUID, SOPClassUID, ImageType, bucket, object_key, series_row) "
            "SELECT UUID(), '1.2.840.10008.5.1.4.1.1.2', 'ORIGINAL', 'bucket', UUID(), seq MOD 1000 FROM seq_1_to_%s "
            "WHERE seq > (SELECT COUNT(*) FROM (SELECT 1 FROM instance) AS those)",
            (rows,),
        )
    connection.commit()


def keep_secret(secrets: Aws, settings: CatalogSettings) -> None:
    """Put where the database is into Secrets Manager, for `index`."""
    secrets.secrets.create_secret(Name=_SECRET, SecretString=json.dumps(vars(settings)))


def index(secrets: Aws, s3: Aws, bucket: str, keys: Sequence[str]) -> int:
    """Index the objects; how many bytes were fetched."""
    fetched = 0
    for first in range(0, len(keys), OBJECTS_A_BATCH):
        session = Aws(secrets.endpoint_url)
        settings = json.loads(session.secrets.get_secret_value(SecretId=_SECRET)["SecretString"])
        with pymysql.connect(
            host=settings["host"],
            port=settings["port"],
            user=settings["user"],
            password=settings["password"],
            database=settings["database"],
            autocommit=True,
        ) as connection:
            for key in keys[first : first + OBJECTS_A_BATCH]:
                content = s3.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                fetched += len(content)
                arguments = [*_values(dcmread(BytesIO(content))), bucket, key[:255]]
                places = ", ".join(["%s"] * len(arguments))
                connection.cursor().execute(f"CALL index_object({places})", arguments)
    return fetched


def _values(data_set: Dataset) -> list[str | None]:
    read = [data_set.get(name) for key, names in _LEVELS.values() for name in (key, *names)]
    return [None if value is None else str(value)[:254] for value in read]
