"""What an edge asks of the catalog, and is told: what HealthImaging has made of objects that the edge has sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from contract.association import check_association_id
from contract.strict import ContractError

OBJECTS_MAX = 500
"""In one question. Its answer is about 50 bytes an object."""


class ImportStatus(enum.StrEnum):
    """PENDING: nothing is recorded yet, or the catalog does not know of such an object of this edge."""

    PENDING = "PENDING"
    IMPORTED = "IMPORTED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentObject:
    """An object of an association, by its raw UIDs."""

    association: str
    sop_class_uid: str
    sop_instance_uid: str

    def __post_init__(self) -> None:
        check_association_id(self.association)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportQuestion:
    """At most OBJECTS_MAX objects. Whose they are is not in it: the function that is asked answers for one edge."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    objects: tuple[SentObject, ...]

    def __post_init__(self) -> None:
        if len(self.objects) > OBJECTS_MAX:
            raise ContractError(f"objects: expected at most {OBJECTS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """Of one object. `reason`: HealthImaging's exception, or SUPERSEDED; None unless it failed."""

    status: ImportStatus
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAnswer:
    """The results, in the order of the question's objects."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    results: tuple[ImportResult, ...]
