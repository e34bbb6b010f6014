"""What a dead process may have left of an association, by name, and what becomes of it."""

from __future__ import annotations

import enum


class Leftover(enum.Enum):
    """The states of a folder that no process owns any more, in the order of the path (see the package)."""

    NOTHING_STORED = enum.auto()
    """No object was acknowledged: the folder is removed."""
    NOT_ENDED = enum.auto()
    """Objects, but nobody knows how the association ended: it is sealed as recovered, and then as SEALED."""
    BETWEEN_MEMBERS = enum.auto()
    """Objects of associations that all ended, and no other had joined them: it is sealed as they ended, and then as SEALED."""
    SEALED = enum.auto()
    """Some or all of the objects may be in S3, and no manifest can be: every object is PUT again."""
    MANIFEST_KEPT = enum.auto()
    """Every object is in S3; the manifests and the message may be out: they are sent again, the same bytes."""
    BEING_REMOVED = enum.auto()
    """The message was sent: removal goes on."""
