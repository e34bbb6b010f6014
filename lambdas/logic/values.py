"""The values of one data set, as the catalog's columns show them.

Nothing is cut or replaced in silence. What is not shown as the object has it, or may be read wrongly, has a note that says
why; and where what is shown does not tell what was there, the raw value beside it.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Sequence
from datetime import date
from functools import cache, cached_property, lru_cache
from io import BytesIO
from typing import Literal, NamedTuple

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, VR

from lambdas.catalog.attributes import Kind
from lambdas.catalog.objects import ColumnValue
from lambdas.logic.header import Header, UnreadableError

_INTEGER_MAX = 2**31 - 1
_REMEMBERED, _REMEMBERED_BYTES = 4096, 64
"""How many plain values are remembered as columns, and how long they may be: 2.5 MB in all."""
_YEAR_MIN = 1000  # MySQL's DATE begins here
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FREE_TEXT = {VR.LT, VR.ST, VR.UT}  # spaces before it count (PS3.5 6.2)
_DECODED = CUSTOMIZABLE_CHARSET_VR | {VR.PN, VR.SQ}  # by the character set; of a sequence the codes
_TEXTS = _FREE_TEXT | {VR.AE, VR.AS, VR.CS, VR.DA, VR.DS, VR.DT, VR.IS, VR.LO, VR.PN, VR.SH, VR.TM, VR.UC, VR.UI}

_as_json = json.JSONEncoder(ensure_ascii=False).encode

_ASCII = {"", "ISO_IR 6", "ISO 2022 IR 6"}  # PS3.3 C.12.1.1.2

_UNDECODED = "not in the object's character set: decoded as far as possible"
_NO_CHARACTER_SET = "not ASCII, and the object names no character set for it: shown as Latin-1"
_UNKNOWN_CHARACTER_SET = "not ASCII, and the object's character set is none that DICOM defines: decoded as far as possible"
_UNCONVERTED = "not of its value representation: shown as Latin-1"
_NOT_SHOWN = "not of its value representation: not shown"


class Value(NamedTuple):
    """What a column shows, the value as it is in the object where that is something else, and a note on it."""

    shown: ColumnValue = None
    raw: str | None = None
    note: str | None = None


_NOTHING = Value()


class _Texts(NamedTuple):
    """The values of an element without padding, by its VR when it is of that; `raw` and `note` as in Value."""

    vr: str = ""
    values: Sequence[str] = ()
    raw: str | None = None
    note: str | None = None

    @property
    def joined(self) -> str | None:
        """As one text: the values of one that should be single and is not, as they came."""
        return ("\\".join(self.values) if len(self.values) > 1 else self.values[0]) or None if self.values else None


_ABSENT = _Texts()


@cache
def tag_of(keyword: str) -> int:
    """The tag of a keyword of the catalog's."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - attributes.py is wrong
    return tag


class Values:
    """The values of a header by keyword, whatever became of the others. `warned` grows by what pydicom warns of.

    Those of plain text and whole numbers, nearly all, are taken as they stand; pydicom reads the header for others alone.
    """

    def __init__(self, header: Header, warned: Sequence[warnings.WarningMessage]) -> None:
        self._header = header
        self._byte_order: Literal["little", "big"] = "little" if header.little_endian else "big"
        self._warned = warned
        self._read: dict[str, _Texts] = {}
        self._character_sets = self._texts("SpecificCharacterSet").values

    def text(self, keyword: str) -> str | None:
        """The value as one text. Raises UnreadableError."""
        return self._texts(keyword).joined

    def column_value(self, keyword: str, kind: Kind) -> Value:
        """The value as a column of that kind. Raises UnreadableError."""
        tag = tag_of(keyword)
        element = self._header.elements.get(tag)
        if element is None:
            return _NOTHING
        if element.end - element.first <= _REMEMBERED_BYTES and not element.is_delimited:
            value = self._header.data_set[element.first : element.end]
            plain = _plain_column_value(element.vr or dictionary_VR(tag), value, self._byte_order, kind)
            if plain is not None:
                return plain
        return _column_value(self._texts(keyword), kind)

    def _texts(self, keyword: str) -> _Texts:
        texts = self._read.get(keyword)
        if texts is None:
            texts = self._read[keyword] = self._read_texts(tag_of(keyword))
        return texts

    def _read_texts(self, tag: int) -> _Texts:
        element = self._header.elements.get(tag)
        if element is None:
            return _ABSENT
        if element.is_delimited:
            return self._converted_texts(tag, None)
        value = self._header.data_set[element.first : element.end]
        return _plain(element.vr or dictionary_VR(tag), value, self._byte_order) or self._converted_texts(tag, value)

    @cached_property
    def _data_set(self) -> Dataset:
        """As pydicom reads it. Raises UnreadableError."""
        header = self._header
        try:
            return read_dataset(
                BytesIO(header.data_set),
                header.implicit_vr,
                header.little_endian,
                specific_tags=[*header.elements],
                at_top_level=not header.implicit_vr,  # there pydicom would look for a VR in the first element's length
            )
        except Exception as error:  # noqa: BLE001 - whatever a broken object does to pydicom is that object's reason
            raise UnreadableError(f"pydicom cannot read it ({type(error).__name__})") from None

    def _converted_texts(self, tag: int, undecoded: bytes | None) -> _Texts:
        """The values as pydicom converts and decodes them. Raises UnreadableError."""
        data_set, warned_before = self._data_set, len(self._warned)
        raw = _clean(undecoded.decode("latin-1")) if undecoded is not None else None
        try:
            element = data_set[tag]
            found = _converted(element.VR, element.value)
        except Exception:  # noqa: BLE001 - a value that pydicom cannot convert keeps its raw form
            return _Texts(values=[raw], note=_UNCONVERTED) if raw else _Texts(note=_NOT_SHOWN)
        if not any(found):
            return _ABSENT
        if element.VR in _DECODED:
            if len(self._warned) > warned_before:
                return _Texts(element.VR, found, raw, _UNDECODED)
            if not "".join(found).isascii():
                return _Texts(element.VR, found, None, self._doubt())
        return _Texts(element.VR, found)

    def _doubt(self) -> str | None:
        """Why text that is not ASCII may be read wrongly."""
        if _ASCII.issuperset(self._character_sets):
            return _NO_CHARACTER_SET
        return None if all(one in python_encoding for one in self._character_sets) else _UNKNOWN_CHARACTER_SET


def _column_value(texts: _Texts, kind: Kind) -> Value:
    text = texts.joined
    if text is None:
        return Value(note=texts.note)
    match kind:
        case Kind.TEXT:
            return Value(text, texts.raw, texts.note)
        case Kind.MULTIPLE:
            return Value(_as_json(texts.values), texts.raw, texts.note)
        case Kind.CODES:
            if texts.vr != VR.SQ:
                return Value(None, text, "no sequence of codes")
            return Value(f"[{', '.join(texts.values)}]", texts.raw, texts.note)
        case Kind.INTEGER:
            shown: ColumnValue = _integer(text)
            note = "no whole number of 32 bits" if shown is None else None
        case Kind.DECIMAL:
            shown = _decimal(text)
            note = "no number" if shown is None else None
        case Kind.DATE:
            shown = day = _date(text)
            note = "no date" if day is None else "a date in an older form" if len(text) != 8 else None
    return Value(shown, text if note else None, note)


@lru_cache(maxsize=_REMEMBERED)
def _plain_column_value(vr: str, value: bytes, byte_order: Literal["little", "big"], kind: Kind) -> Value | None:
    """As `_plain` and `_column_value`, once for what the objects of a series have in common."""
    texts = _plain(vr, value, byte_order)
    return None if texts is None else _column_value(texts, kind)


def _plain(vr: str, value: bytes, byte_order: Literal["little", "big"]) -> _Texts | None:
    """The values of text in ASCII and of US, which need none of pydicom's conversions. None for anything else."""
    if vr == VR.US and len(value) % 2 == 0:
        found = [str(int.from_bytes(value[at : at + 2], byte_order)) for at in range(0, len(value), 2)]
    elif vr not in _TEXTS or not value.isascii() or b"\x1b" in value:
        return None
    elif vr in _FREE_TEXT:
        found = [value.decode().rstrip(" \0")]
    elif vr == VR.PN and b"=" in value:  # groups, of which pydicom leaves out empty ones at the end
        return None
    else:
        found = [one.strip(" \0") for one in value.decode().split("\\")]
    return _Texts(vr, found) if any(found) else _ABSENT


def _converted(vr: str, value: object) -> list[str]:
    if vr == VR.SQ:
        return [_code(item) for item in value]  # type: ignore[attr-defined]  # a Sequence, as its VR says
    values = list(value) if isinstance(value, MultiValue) else [] if value is None else [value]
    return [_clean(str(one), free_text=vr in _FREE_TEXT) for one in values]


def _code(item: Dataset) -> str:
    """An item of a code sequence (PS3.3 8.8): its value, coding scheme and meaning, as JSON."""
    value = next((item.get(name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if item.get(name)), "")
    texts = (value, item.get("CodingSchemeDesignator"), item.get("CodeMeaning"))
    return _as_json([_clean(str(text or "")) for text in texts])


def _clean(value: str, *, free_text: bool = False) -> str:
    """Without padding, and in what utf8mb4 can hold: a lone surrogate becomes an escape."""
    stripped = value.rstrip(" \0") if free_text else value.strip(" \0")
    return stripped.encode("utf-8", "backslashreplace").decode()


def _integer(text: str) -> int | None:
    """IS or US (PS3.5 6.2) within MySQL's INT."""
    number = int(text) if _WHOLE_NUMBER.fullmatch(text) else None
    return number if number is not None and abs(number) <= _INTEGER_MAX else None


def _decimal(text: str) -> float | None:
    """DS (PS3.5 6.2) within MySQL's DOUBLE."""
    number = float(text) if _NUMBER.fullmatch(text) else None
    return number if number is not None and math.isfinite(number) else None


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
