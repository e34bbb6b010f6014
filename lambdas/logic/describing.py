"""What a header says, as the catalog's columns, by pydicom's reading and decoding."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from io import BytesIO

import pydicom.config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from lambdas.catalog.associations import Origin
from lambdas.catalog.attributes import ATTRIBUTES, Kind, Level, column
from lambdas.catalog.keys import patient_key, uid_column
from lambdas.catalog.objects import ColumnValue, Described, LevelValues, Listed
from lambdas.logic.header import Header, UnreadableError
from lambdas.logic.order import described_order

_INTEGER_MAX = 2**31 - 1
_YEAR_MIN = 1000  # MySQL's DATE begins here
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - attributes.py is wrong
    return Tag(tag)


_TAGS: dict[str, BaseTag] = {
    keyword: _tag(keyword)
    for keyword in ("SpecificCharacterSet", *_UIDS, *(name for level in ATTRIBUTES.values() for name in level))
}


def describe(header: Header, listed: Listed, origin: Origin) -> Described:
    """The object's rows. Raises UnreadableError.

    A UID that the data set lacks is taken from the manifest, where the receiver put what it read or was told.
    """
    with _lenient():
        data_set = _parse(header)
        values = _Values(data_set)
        uids = {name: uid_column(values.text(name) or getattr(listed.entry, column(name))) for name in _UIDS}
        if uids["SOPInstanceUID"] is None:
            raise UnreadableError("it has no SOP Instance UID")
        levels = {level: _level_values(level, values, listed, origin) for level in Level}
        study = uids["StudyInstanceUID"]
        patient_id = values.text("PatientID") or ""
        return Described(
            sop_instance_uid=uids["SOPInstanceUID"],
            sop_class_uid=uids["SOPClassUID"],
            series_instance_uid=uids["SeriesInstanceUID"],
            study_instance_uid=study,
            patient_key=patient_key(patient_id, values.text("IssuerOfPatientID") or "", study),
            has_patient_id=bool(patient_id.strip()),
            levels=levels,
        )


@contextmanager
def _lenient() -> Iterator[None]:
    """Values that are not as they should be are kept, not judged; and not told, since pydicom quotes them in warnings and in
    its log. Not for several threads at once."""
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled


def _parse(header: Header) -> Dataset:
    try:
        return read_dataset(
            BytesIO(header.data_set), header.implicit_vr, header.little_endian, specific_tags=list(_TAGS.values())
        )
    except Exception as error:  # noqa: BLE001 - whatever a broken object does to pydicom is that object's reason
        raise UnreadableError(f"pydicom cannot read it ({type(error).__name__})") from None


class _Values:
    """The values of a data set by keyword, each as text or number, whatever became of the others."""

    def __init__(self, data_set: Dataset) -> None:
        self._data_set = data_set

    def texts(self, keyword: str) -> list[str]:
        """The values as text, without the padding and the spaces around them (PS3.5 6.2); none when absent or empty."""
        tag = _TAGS[keyword]
        if tag not in self._data_set:
            return []
        undecoded = self._data_set.get_item(tag).value
        try:
            value = self._data_set[tag].value
            values = list(value) if isinstance(value, MultiValue) else [] if value is None else [value]
            found = [_clean(str(one)) for one in values]
        except Exception:  # noqa: BLE001 - a value that pydicom cannot convert keeps its raw form
            found = [_clean(undecoded.decode("latin-1"))] if isinstance(undecoded, bytes) else []
        return found if any(found) else []

    def text(self, keyword: str) -> str | None:
        return "\\".join(self.texts(keyword)) or None


def _clean(value: str) -> str:
    """Without padding, and in what utf8mb4 can hold: a lone surrogate becomes an escape."""
    return value.strip(" \0").encode("utf-8", "backslashreplace").decode()


def _level_values(level: Level, values: _Values, listed: Listed, origin: Origin) -> LevelValues:
    found: dict[str, ColumnValue] = {}
    raw: dict[str, str] = {}
    for keyword, kind in ATTRIBUTES[level].items():
        text = values.text(keyword)
        if text is None:
            continue
        match kind:
            case Kind.TEXT:
                found[column(keyword)] = text
            case Kind.MULTIPLE:
                found[column(keyword)] = json.dumps(values.texts(keyword), ensure_ascii=False)
            case Kind.INTEGER:
                if (number := _integer(text)) is None:
                    raw[keyword] = text
                else:
                    found[column(keyword)] = number
            case Kind.DATE:
                if (day := _date(text)) is not None:
                    found[column(keyword)] = day
                if day is None or text != f"{day:%Y%m%d}":
                    raw[keyword] = text
    place = (origin, listed.association, listed.part, listed.position)
    return LevelValues(
        values=found,
        raw_values=json.dumps(raw, ensure_ascii=False, sort_keys=True) if raw else None,
        described_order=listed.object_order if level is Level.INSTANCE else described_order(*place, len(found) + len(raw)),
    )


def _integer(text: str) -> int | None:
    """IS or US (PS3.5 6.2) within MySQL's INT."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) <= _INTEGER_MAX else None


def _date(text: str) -> date | None:
    """DA as `19970415` or, as ACR-NEMA wrote it, `1997.04.15` (PS3.5 6.2)."""
    digits = text.replace(".", "") if len(text) == 10 and text[4] == text[7] == "." else text
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return day if day.year >= _YEAR_MIN else None
