"""SearchImageSets: filters that all must hold, and the order of what they find.

Source: AWS HealthImaging API Reference, SearchCriteria, SearchFilter, Sort.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.healthimaging.errors import invalid
from local.healthimaging.readback import TAGS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from local.healthimaging.validation import Body

_TEXTS = ("DICOMPatientId", "DICOMAccessionNumber", "DICOMStudyId", "DICOMStudyInstanceUID", "DICOMSeriesInstanceUID")
_TEXT, _UID = re.compile(r".{0,512}", re.DOTALL), re.compile(r"[0-9.]{1,512}")
_MOMENTS = ("createdAt", "updatedAt", "DICOMStudyDateAndTime")  # what BETWEEN takes, and what is sorted by
_SEARCHABLE = (*_TEXTS, *_MOMENTS, "isPrimary")
_MAX_FILTERS = 2  # as the service's model has it
_DEFAULT_SORT = {"sortField": "updatedAt", "sortOrder": "DESC"}  # undocumented

Condition = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Search:
    """`conditions` are (attribute, (value,)) or (attribute, (first, last)), bounds included."""

    conditions: Sequence[Condition]
    sort: Mapping[str, str]

    @classmethod
    def of(cls, criteria: Body) -> Search:
        """Raises ServiceError ValidationException."""
        filters = criteria.get("filters", [])
        if not isinstance(filters, list) or len(filters) > _MAX_FILTERS:
            raise invalid(f"Value at 'filters' failed to satisfy constraint: at most {_MAX_FILTERS} filters are allowed")
        sort = criteria.get("sort", _DEFAULT_SORT)
        if sort.get("sortField") not in _MOMENTS or sort.get("sortOrder") not in {"ASC", "DESC"}:
            raise invalid("Value at 'sort' failed to satisfy constraint")
        return cls([_condition(each) for each in filters], sort)

    def find(self, image_sets: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
        field, descending = self.sort["sortField"], self.sort["sortOrder"] == "DESC"
        found = [row for row in image_sets if all(_holds(row, condition) for condition in self.conditions)]
        return sorted(found, key=lambda row: _attribute(row, field), reverse=descending)


def _condition(condition: Body) -> Condition:
    operator, values = condition.get("operator"), condition.get("values") or []
    names = {name for value in values for name in value}
    if len(names) != 1 or any(len(value) != 1 for value in values):
        raise invalid("Value at 'values' failed to satisfy constraint: one attribute is allowed, in each value")
    (name,) = names
    if name not in _SEARCHABLE:
        raise invalid(f"Value at 'values' failed to satisfy constraint: it must be one of {', '.join(_SEARCHABLE)}")
    if (operator, len(values)) not in {("EQUAL", 1), ("BETWEEN", 2)} or (operator == "BETWEEN" and name not in _MOMENTS):
        raise invalid(f"EQUAL takes one value, BETWEEN takes two of {', '.join(_MOMENTS)}.")
    bounds = tuple(value[name] for value in values)
    if name in _TEXTS and not (_UID if name.endswith("UID") else _TEXT).fullmatch(str(bounds[0])):
        raise invalid(f"Value at '{name}' failed to satisfy constraint")
    if name == "DICOMStudyDateAndTime":
        fills = ("000000", "235959.999999") if operator == "BETWEEN" else ("",)
        bounds = tuple(
            (bound.get("DICOMStudyDate", ""), bound.get("DICOMStudyTime", fill))
            for bound, fill in zip(bounds, fills, strict=True)
        )
    return name, bounds


def _holds(image_set: sqlite3.Row, condition: Condition) -> bool:
    name, bounds = condition
    value = _attribute(image_set, name)
    if len(bounds) == 1:
        return bool(value == bounds[0])
    return bool(bounds[0] <= value <= bounds[1])


def _attribute(image_set: sqlite3.Row, name: str) -> Any:
    reads: Mapping[str, Callable[[], Any]] = {
        "isPrimary": lambda: bool(image_set["is_primary"]),
        "createdAt": lambda: image_set["created_at"],
        "updatedAt": lambda: image_set["updated_at"],
        "DICOMStudyDateAndTime": lambda: _study_date_and_time(json.loads(image_set["study"])),
    }
    if name in reads:
        return reads[name]()
    level, keyword = TAGS[name]
    return json.loads(image_set[level]).get(keyword)


def _study_date_and_time(study: Mapping[str, str]) -> tuple[str, str]:
    return study.get("StudyDate", ""), study.get("StudyTime", "")
