"""Whether an object can be read, and is the one that its C-STORE-RQ named. Checked as its bytes pass.

An object that fails is no less acknowledged: it is kept, quarantined with the reason, and not imported; or refused, where the
setting `validation` is `strict`. A UID that the data set lacks does not differ: HealthImaging says what it thinks of that.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.filesystem import Chunk
from receiver.walk import SERIES, SOP_CLASS, SOP_INSTANCE, STUDY, DataSetWalk, Tag

_NAMES = {SOP_CLASS: "SOPClassUID (0008,0016)", SOP_INSTANCE: "SOPInstanceUID (0008,0018)"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an object, without any value of it."""

    reason: str
    tag: Tag | None
    """The element that shows it, or the last one before."""
    differs: bool
    """Whether it can be read and is not what the command named; otherwise it cannot be read."""


class Validation:
    """The check of one object, given the UIDs that its command named."""

    def __init__(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> None:
        self._named = {SOP_CLASS: sop_class_uid, SOP_INSTANCE: sop_instance_uid}
        self._walk = DataSetWalk(transfer_syntax_uid)

    def feed(self, data: Chunk) -> None:
        """The next bytes of the data set."""
        self._walk.feed(data)

    def end(self) -> Fault | None:
        """There are no more bytes: what is wrong, if anything is."""
        self._walk.end()
        if unreadable := self._walk.unreadable:
            return Fault(f"cannot be read: {unreadable.reason}", unreadable.tag, differs=False)
        for tag, named in self._named.items():
            if (found := self._walk.uids.get(tag)) and found != named:
                return Fault(f"{_NAMES[tag]} differs from the C-STORE command's", tag, differs=True)
        return None

    @property
    def complete(self) -> bool:
        """Whether all of it was checked; not so in an unknown transfer syntax, or beyond the walk's bounds."""
        return self._walk.complete

    @property
    def study_and_series(self) -> tuple[str, str]:
        """The raw Study and Series Instance UIDs, empty when absent or unreadable."""
        return self._walk.uids.get(STUDY, ""), self._walk.uids.get(SERIES, "")
