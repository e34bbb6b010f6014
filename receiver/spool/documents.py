"""The small documents of an association's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from contract import Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """association.json. The limits are kept, since where an object belongs must not change with a setting."""

    VERSION: ClassVar[int] = 2

    version: int = 2
    association: str
    edge: str
    calling_ae: str
    called_ae: str
    peer: str
    started_at: datetime
    part_max_objects: int
    part_max_bytes: int
    object_max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """sealed.json."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    ending: Ending
    ended_at: datetime
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStart:
    """member-N.json, N from 2: an association that goes on in an earlier one's folder. `first`: its first object's number.

    The first member's start is association.json.
    """

    VERSION: ClassVar[int] = 1

    version: int = 1
    association: str
    started_at: datetime
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEnd:
    """member-N-ended.json, N from 1."""

    VERSION: ClassVar[int] = 1

    version: int = 1
    ending: Ending
    ended_at: datetime
