"""What an association's objects are handed to: the words between the P-DATA loop and whoever keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from receiver.dicom.status import StoreStatus


@dataclass(frozen=True, slots=True)
class StoreContext:
    """An accepted presentation context under which objects may be stored."""

    transfer_syntax: bytes


class StoreRequest(NamedTuple):
    """A C-STORE-RQ: UIDs as on the wire."""

    context_id: int
    message_id: int
    sop_class: bytes
    sop_instance: bytes
    transfer_syntax: bytes


class ObjectRefusedError(Exception):
    """An object is not kept, for another reason than the disk's.

    `offending_elements` are tags, such as 0x00080018; `comment` is for the sender's log: at most 64 characters of ASCII, and
    no patient data (PS3.7 Annex C).
    """

    def __init__(self, status: StoreStatus, *, offending_elements: tuple[int, ...] = (), comment: str = "") -> None:
        super().__init__(comment or status.name)
        self.status, self.offending_elements, self.comment = status, offending_elements, comment


class ObjectSink(Protocol):
    """Where one object's data set goes. After an error it is discarded already.

    OSError is answered 0xA700, ObjectRefusedError with its own status; the rest of the object is read and thrown away.
    """

    def write(self, chunks: list[memoryview]) -> None:
        """Take the next bytes; the chunks are valid during the call only. Raises OSError, ObjectRefusedError."""

    def commit(self) -> None:
        """Keep the object: when this returns, it is acknowledged. Raises OSError, ObjectRefusedError."""

    def discard(self) -> None:
        """Forget the object."""


class ObjectReceiver(Protocol):
    """Who takes the objects of one association."""

    def begin_object(self, request: StoreRequest) -> ObjectSink:
        """A new object. Raises OSError, ObjectRefusedError."""

    def refused(self, status: StoreStatus) -> None:
        """An object is answered with another status than success. Called once for each."""
