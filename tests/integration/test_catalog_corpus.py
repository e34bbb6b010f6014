"""Everything that pydicom bundles, indexed: each row, field by field, is what `dcmread` reads in an object that it is of."""

from __future__ import annotations

import json
import re
import warnings
from datetime import date
from typing import TYPE_CHECKING, Any

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.valuerep import DA

from lambdas.adapters.aws import Storage
from lambdas.catalog import associations
from lambdas.catalog.attributes import ATTRIBUTES, KEYS, Kind, Level, column, columns
from lambdas.logic.indexing import Slice, index_slice
from tests.support.catalog import rows
from tests.support.dicom import BUNDLED

if TYPE_CHECKING:
    from pathlib import Path

    from lambdas.catalog import Catalog
    from local.aws import Aws
    from tests.support.associations import Placer

Said = dict[str, Any]

_UIDS = {
    Level.STUDY: {"StudyInstanceUID": Kind.TEXT},
    Level.SERIES: {"SeriesInstanceUID": Kind.TEXT},
    Level.INSTANCE: {"SOPInstanceUID": Kind.TEXT, "SOPClassUID": Kind.TEXT},
}

# Fragments for pydicom's own tests: without a SOP Instance UID, or bytes in a wrong order.
_NOT_INSTANCES = {
    "README",
    "UN_sequence.dcm",
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
}


def test_every_file_that_pydicom_bundles_is_indexed_as_dcmread_reads_it_or_has_its_reason(
    aws: Aws, placer: Placer, catalog: Catalog
) -> None:
    paths = [path for path in sorted(BUNDLED.rglob("*")) if path.is_file() and path.suffix in (".dcm", "")]
    contents = {path.read_bytes(): path for path in paths}  # some are bundled twice
    placed = placer.place(list(contents))
    catalog.transaction(lambda cursor: associations.register(cursor, placed.announcement, placed.manifest))
    whole = Slice(
        association=placed.association,
        edge=placer.edge,
        bucket=placed.bucket,
        part=1,
        first=0,
        count=len(contents),
    )
    result = index_slice(catalog, Storage(aws.session, endpoint_url=aws.endpoint_url), whole, {})
    assert result.indexed + result.not_indexed == len(contents) > 150
    assert result.fetched_bytes < 70 * 1024 * len(contents)

    ledger = {row["s3_key"]: row for row in rows(catalog, "stored_object")}
    reasons: dict[str, str] = {}
    said: dict[str, dict[Level, Said]] = {}
    for path, entry in zip(contents.values(), placed.entries, strict=True):
        row = ledger[entry.key]
        if row["not_indexed_reason"]:
            reasons[path.name] = row["not_indexed_reason"]
        else:
            said[row["object_hash"]] = _read(path)
    assert set(reasons.values()) <= {
        "it has no SOP Instance UID",
        "it is not DICOM: it has no preamble, and does not begin with an element of a data set",
    }
    assert {name for name in reasons if "DICOMDIR" not in name} == _NOT_INSTANCES

    instances = rows(catalog, "instance")
    assert len(instances) > 100
    for instance in instances:
        assert _shown(Level.INSTANCE, instance) == said[instance["object_hash"]][Level.INSTANCE]
    for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
        found = rows(catalog, level)
        assert len(found) >= 40
        for row in found:
            assert _shown(level, row) in [one[level] for one in said.values()], row[KEYS[level]]
    noted = [row for level in Level for row in rows(catalog, level) if row["value_notes"]]
    assert noted  # some of them are odd on purpose


def _shown(level: Level, row: dict[str, Any]) -> Said:
    shown = (*columns(level), *(column(keyword) for keyword in _UIDS.get(level, {})))
    return {name: row[name] for name in shown if row[name] is not None}


def _read(path: Path) -> dict[Level, Said]:
    """What pydicom reads in a whole file, by level and column, in the forms that docs/catalog.md promises."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        read = dcmread(path, force=True)
        return {
            level: {
                column(keyword): value
                for keyword, kind in [*attributes.items(), *_UIDS.get(level, {}).items()]
                if (value := _value(read, keyword, kind)) is not None
            }
            for level, attributes in ATTRIBUTES.items()
        }


def _value(read: Dataset, keyword: str, kind: Kind) -> str | int | float | date | None:
    try:
        value = read.get(keyword)
        if value in (None, "", []) or (isinstance(value, str) and not value.strip(" \0")):
            return None
        return _converted(value, kind, several=read[keyword].VM > 1)
    except ValueError:  # a number that is none
        return None


def _converted(value: Any, kind: Kind, *, several: bool) -> str | int | float | date | None:
    match kind:
        case Kind.CODES:
            names = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
            return json.dumps([[str(item.get(name, "")) for name in names] for item in value], ensure_ascii=False)
        case Kind.MULTIPLE:
            return json.dumps([str(one).strip() for one in (value if several else [value])], ensure_ascii=False)
        case Kind.DATE:
            text = str(value).strip()
            day = DA(text) if re.fullmatch(r"\d{8}|\d{4}\.\d\d\.\d\d", text) else None
            return date(day.year, day.month, day.day) if day else None
        case Kind.INTEGER:
            return int(value)
        case Kind.DECIMAL:
            return float(value)
        case Kind.TEXT:
            return "\\".join(str(one).strip() for one in value) if several else str(value).strip(" \0") or None
