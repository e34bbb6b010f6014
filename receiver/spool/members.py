"""The associations that share a folder, one after another (AHI_INGEST_COALESCE_SECONDS): what each was, kept in the folder.

A member's start is written before its first object, whose own sync makes the name durable; its end when it ends. The first
member is the association that the folder is named after. Who brought no object is no member: its start is not written, or
stands for nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from contract import Ending
from contract.manifest import Member
from contract.strict import from_json, to_json
from receiver.filesystem import FileSystem
from receiver.spool.documents import MemberEnd, MemberStart, StartFacts
from receiver.spool.durable import write_file


@dataclass(slots=True)
class _Running:
    start: MemberStart
    number: int
    written: bool


class Members:
    """The members of one folder that this process fills. One at a time; all methods that write raise OSError."""

    def __init__(self, files: FileSystem, facts: StartFacts) -> None:
        self._files = files
        self._now = _Running(MemberStart(association=facts.association, started_at=facts.started_at, first=1), 1, written=True)
        self._unwritten_end: MemberEnd | None = None

    def begin(self, association: str, started_at: datetime, first: int) -> None:
        """Another association goes on in the folder, with the object of this number."""
        number = self._now.number + self._now.written  # who brought nothing leaves its number to the next
        self._now = _Running(MemberStart(association=association, started_at=started_at, first=first), number, written=False)

    def write_start(self, folder: Path) -> None:
        """Keep who brings the objects from now on. The caller syncs the folder before it acknowledges one."""
        if not self._now.written:
            write_file(self._files, folder, f"member-{self._now.number}.json", to_json(self._now.start))
            self._now.written = True

    def end(self, folder: Path, ending: Ending, ended_at: datetime) -> None:
        """Keep how the member ended, if it brought anything; durable when this returns. Otherwise `write_end` tries again."""
        if self._now.written:
            self._unwritten_end = MemberEnd(ending=ending, ended_at=ended_at)
            self.write_end(folder)
            self._files.sync_folder(folder)

    def write_end(self, folder: Path) -> None:
        """Keep an end that could not be kept before. The caller syncs the folder."""
        if self._unwritten_end is not None:
            write_file(self._files, folder, f"member-{self._now.number}-ended.json", to_json(self._unwritten_end))
            self._unwritten_end = None


def read_members(
    read: Callable[[str], bytes], names: Iterable[str], facts: StartFacts, objects: Sequence[int], sealed_at: datetime
) -> tuple[Member, ...]:
    """Who brought the objects of these numbers, which ascend. Of whom no end is kept, it was RECOVERED at `sealed_at`.

    Raises OSError, ContractError.
    """
    present = set(names)
    starts = [MemberStart(association=facts.association, started_at=facts.started_at, first=1)]
    while (name := f"member-{len(starts) + 1}.json") in present:
        starts.append(from_json(MemberStart, read(name)))
    ends = [bisect.bisect_left(objects, start.first) for start in starts[1:]] + [len(objects)]
    members, begin = [], 0
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        ended, name = MemberEnd(ending=Ending.RECOVERED, ended_at=sealed_at), f"member-{number}-ended.json"
        if name in present:
            ended = from_json(MemberEnd, read(name))
        if end > begin:
            members.append(
                Member(
                    association=start.association,
                    started_at=start.started_at,
                    ended_at=ended.ended_at,
                    ending=ended.ending,
                    objects=end - begin,
                )
            )
        begin = end
    return tuple(members)


def ending_of(endings: Sequence[Ending]) -> Ending:
    """How associations that share a folder ended, taken together."""
    return next((ending for ending in reversed(endings) if ending is not Ending.RELEASED), Ending.RELEASED)
