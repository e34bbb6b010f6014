"""What a header says, as the catalog's columns, by pydicom's reading and decoding."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import pydicom.config

from contract.manifest import Entry
from lambdas.catalog.attributes import ATTRIBUTES, Level, column
from lambdas.catalog.keys import patient_key, uid_column
from lambdas.catalog.objects import ColumnValue, Described, LevelValues
from lambdas.logic.header import Header, UnreadableError
from lambdas.logic.order import described_order
from lambdas.logic.values import Values, tag_of

VALUES_MAX_CHARACTERS = 4_000_000
"""How much text an object may say about itself: as UTF-8 it fits into MySQL's MEDIUMTEXT, and its rows into one statement."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_COLUMNS = {level: [(name, column(name), kind) for name, kind in kinds.items()] for level, kinds in ATTRIBUTES.items()}
TAGS = frozenset(
    tag_of(keyword) for keyword in ("SpecificCharacterSet", *_UIDS, *(name for level in ATTRIBUTES.values() for name in level))
)
"""Of the elements that `describe` needs of a header."""


def describe(header: Header, *, object_order: str, listed: Entry | None = None, default_issuer: str = "") -> Described:
    """The rows of an object, of a header with the elements of TAGS. Raises UnreadableError.

    A UID that the data set lacks is taken from where the manifest lists the object: there the receiver put what it read or
    was told. `default_issuer` is who issued a PatientID that comes without an issuer (lambdas.logic.issuers).
    """
    with _lenient() as warned:
        values = Values(header, warned)
        uids = {name: uid_column(values.text(name) or str(getattr(listed, column(name), ""))) for name in _UIDS}
        if uids["SOPInstanceUID"] is None:
            raise UnreadableError("it has no SOP Instance UID")
        levels = {level: _level_values(level, values, object_order) for level in Level}
        _check_size(levels.values())
        study, patient_id = uids["StudyInstanceUID"], values.text("PatientID") or ""
        issuer = values.text("IssuerOfPatientID") or default_issuer
        return Described(
            sop_instance_uid=uids["SOPInstanceUID"],
            sop_class_uid=uids["SOPClassUID"],
            series_instance_uid=uids["SeriesInstanceUID"],
            study_instance_uid=study,
            patient_key=patient_key(patient_id, issuer, study),
            effective_issuer=issuer or None if patient_id.strip() else None,
            has_patient_id=bool(patient_id.strip()),
            levels=levels,
        )


@contextmanager
def _lenient() -> Iterator[list[warnings.WarningMessage]]:
    """Values that are not as they should be are kept, not judged; and not told, since pydicom quotes them in warnings and in
    its log. The warnings so far are in the list. Not for several threads at once."""
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(record=True) as warned, pydicom.config.disable_value_validation():
            warnings.simplefilter("always")
            yield warned
    finally:
        logger.disabled = was_disabled


def _level_values(level: Level, values: Values, object_order: str) -> LevelValues:
    found: dict[str, ColumnValue] = {}
    raw: dict[str, str] = {}
    notes: dict[str, str] = {}
    for keyword, name, kind in _COLUMNS[level]:
        value = values.column_value(keyword, kind)
        if value.shown is not None:
            found[name] = value.shown
        if value.raw is not None:
            raw[keyword] = value.raw
        if value.note is not None:
            notes[keyword] = value.note
    richness = len(found.keys() | raw)
    return LevelValues(
        values=found,
        raw_values=_as_json(raw),
        value_notes=_as_json(notes),
        described_order=object_order if level is Level.INSTANCE else described_order(object_order, richness),
    )


def _as_json(texts: Mapping[str, str]) -> str | None:
    return json.dumps(texts, ensure_ascii=False, sort_keys=True) if texts else None


def _check_size(levels: Iterable[LevelValues]) -> None:
    for level in levels:
        texts = (*level.values.values(), level.raw_values, level.value_notes)
        if sum(len(text) for text in texts if isinstance(text, str)) > VALUES_MAX_CHARACTERS:
            raise UnreadableError(f"its attributes hold more than {VALUES_MAX_CHARACTERS} characters")
