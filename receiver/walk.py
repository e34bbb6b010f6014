"""Walks the bytes of a data set as they pass: finds its UIDs, and whether it can be read to its end.

The data set is untrusted and nothing is decoded: only tags, VRs and lengths are looked at (PS3.5 7), values are passed, and
sequences of undefined length are followed by their nesting. So a walk costs little beside a copy of the bytes, and no memory.
It is bounded: what has more than HEADERS_MAX elements and items, or inflates to more than INFLATED_MAX_BYTES, is walked so
far and no further, which is no fault. A transfer syntax that the DICOM dictionary does not know is not walked at all: nobody
can say how it is encoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

from contract.uids import uid_from_wire
from receiver.filesystem import Chunk

HEADERS_MAX = 1_000_000
"""About a second of one core; a slide of 100,000 frames has as many items."""
INFLATED_MAX_BYTES = 2**30
"""Some seconds of one core; a MiB can be made to inflate to as much."""

Tag = tuple[int, int]
_Steps = Generator[tuple[int, int], bytes, None]
"""Each step says how many bytes to pass, and how many to be sent after these."""

SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = (0x0008, 0x0016), (0x0008, 0x0018), (0x0020, 0x000D), (0x0020, 0x000E)
_UNDEFINED = 0xFFFFFFFF
_UID_FIELD_MAX_BYTES = 4096  # with its padding
_UID_MAX_BYTES = 512  # as of a command's; PS3.5 9.1 has 64, HealthImaging imports 256 characters: memory holds no more
_DEPTH_MAX = 64
_PADDING = bytes(8)  # some writers fill their last block, and no data set has an element (0000,0000)
_PACKED_PIECE_BYTES, _INFLATED_PIECE_BYTES = 16 * 1024, 64 * 1024

_LONG_FORM = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_IMPLICIT = frozenset(("1.2.840.10008.1.2",))  # PS3.5 A.1
_BIG_ENDIAN = frozenset(("1.2.840.10008.1.2.2",))  # PS3.5 A.3, retired
_DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))  # PS3.5 A.5, A.7, A.11
_KNOWN = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax") | frozenset(
    # Added to pydicom's dictionary by pynetdicom, but only once that is imported.
    ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.8.1")
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a data set cannot be read, and the last top-level element before that shows. Holds nothing of its values."""

    reason: str
    tag: Tag | None


class DataSetWalk:
    """A walk over one data set: `feed` it all the bytes in order, then `end`, then look at what it found."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self._elements = _Elements(transfer_syntax_uid) if transfer_syntax_uid in _KNOWN else None
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if transfer_syntax_uid in _DEFLATED else None
        self._inflated_bytes = 0
        self._going_on = self._elements is not None
        self._reason = ""

    def feed(self, data: Chunk) -> None:
        """The next bytes."""
        if not self._going_on or self._elements is None:
            return
        try:
            if self._inflate is None:
                self._going_on = self._elements.feed(data)
            else:
                for at in range(0, len(data), _PACKED_PIECE_BYTES):
                    self._feed_packed(self._inflate, self._elements, bytes(data[at : at + _PACKED_PIECE_BYTES]))
        except _UnreadableError as error:
            self._reason, self._going_on = str(error), False

    def end(self) -> None:
        """There are no more bytes."""
        if not self._going_on or self._elements is None:
            return
        self._going_on = False
        if self._inflate is not None and not self._inflate.eof:
            self._reason = "the deflated data set ends early"
            return
        try:
            self._elements.end()
        except _UnreadableError as error:
            self._reason = str(error)

    @property
    def uids(self) -> dict[Tag, str]:
        """The raw values of those of the four UIDs that were found, also before a fault."""
        return self._elements.uids if self._elements else {}

    @property
    def unreadable(self) -> Unreadable | None:
        """What is wrong, if anything is."""
        return Unreadable(self._reason, self._elements.tag) if self._reason and self._elements else None

    @property
    def complete(self) -> bool:
        """Whether the data set was walked to its end. When it was not, and is not unreadable either, nobody knows."""
        return self._elements is not None and self._elements.complete

    def _feed_packed(self, inflate: zlib._Decompress, elements: _Elements, packed: bytes) -> None:
        """Hand on what comes of some deflated bytes (PS3.5 A.5), a little at a time."""
        while packed and self._going_on and not inflate.eof:
            try:
                piece = inflate.decompress(packed, _INFLATED_PIECE_BYTES)
            except zlib.error:
                raise _UnreadableError("the data set cannot be inflated") from None
            packed = inflate.unconsumed_tail
            self._inflated_bytes += len(piece)
            self._going_on = elements.feed(piece) and self._inflated_bytes <= INFLATED_MAX_BYTES


class _UnreadableError(Exception):
    """The data set cannot be walked further."""


class _EndError(Exception):
    """The data set ends here."""


class _Elements:
    """The walk over the elements, as bytes come."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self.uids: dict[Tag, str] = {}
        self.complete = False
        order = ">" if transfer_syntax_uid in _BIG_ENDIAN else "<"
        self._tag, self._short, self._long = (struct.Struct(order + form) for form in ("HH", "H", "I"))
        self._item, self._item_end, self._sequence_end = (self._tag.pack(0xFFFE, n) for n in (0xE000, 0xE00D, 0xE0DD))
        self._wanted = {self._tag.pack(*tag): tag for tag in (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES)}
        self._raw_tag = b""
        self._ahead = b""
        self._steps = self._walk(implicit=transfer_syntax_uid in _IMPLICIT)
        self._pass, self._get = next(self._steps)

    @property
    def tag(self) -> Tag | None:
        """The last top-level element that began."""
        if not self._raw_tag:
            return None
        group, element = self._tag.unpack(self._raw_tag)
        return group, element

    def feed(self, data: Chunk) -> bool:
        """The next bytes; whether any more would tell anything. Raises _UnreadableError."""
        if self._ahead:  # less than a step wants
            missing = self._get - len(self._ahead)
            self._ahead += bytes(data[:missing])
            data = memoryview(data)[missing:]
            if len(self._ahead) < self._get:
                return True
            ahead, self._ahead = self._ahead, b""
            try:
                self._pass, self._get = self._steps.send(ahead)
            except StopIteration:
                return False
        at, size, step, passed, get = 0, len(data), self._steps.send, self._pass, self._get  # locals: this loop is hot
        try:
            while (begin := at + passed) + get <= size:
                at = begin + get
                passed, get = step(bytes(data[begin:at]))
        except StopIteration:
            return False
        self._pass, self._get = max(0, begin - size), get
        self._ahead = bytes(data[begin:])
        return True

    def end(self) -> None:
        """There are no more bytes. Raises _UnreadableError."""
        if self._pass or self._ahead.strip(b"\0"):
            raise _UnreadableError("the data set ends within an element")
        try:
            self._steps.throw(_EndError)
        except _EndError:
            raise _UnreadableError("the data set ends within an element") from None
        except StopIteration:
            return

    def _walk(self, *, implicit: bool) -> _Steps:
        """Step by step to the end of the data set, or to HEADERS_MAX. Raises _UnreadableError."""
        nesting = [(True, implicit)]  # the data set, sequences, items: (whether elements stand there, whether in implicit VR)
        passed = 0
        for _ in range(HEADERS_MAX):
            of_elements, implicit = nesting[-1]
            top_level = len(nesting) == 1
            try:
                head = yield passed, 8
            except _EndError:
                if not top_level:
                    raise _UnreadableError("a sequence or the pixel data has no end, which is (FFFE,E0DD)") from None
                self.complete = True
                return
            tag, passed = head[:4], 0
            if tag in (self._item_end, self._sequence_end):
                self._leave(nesting, tag)
                continue
            if of_elements is (tag == self._item):
                raise _UnreadableError("an item outside a sequence, or something else within one")
            if top_level:
                if head == _PADDING:
                    self.complete = True
                    return
                self._raw_tag = tag
            length = self._length(head, implicit=implicit or not of_elements)
            if length is None:
                (length,) = self._long.unpack((yield 0, 4))
            if length == _UNDEFINED:
                nesting.append((not of_elements, implicit or (of_elements and head[4:6] == b"UN")))  # PS3.5 6.2.2, note 4
                if len(nesting) > _DEPTH_MAX:
                    raise _UnreadableError(f"sequences nested more than {_DEPTH_MAX} deep")
            elif top_level and tag in self._wanted:
                yield from self._keep_uid(tag, length)
            else:
                passed = length

    def _keep_uid(self, tag: bytes, length: int) -> _Steps:
        uid = uid_from_wire((yield 0, length)) if length <= _UID_FIELD_MAX_BYTES else None
        if uid is None or len(uid) > _UID_MAX_BYTES:
            raise _UnreadableError(f"a UID of more than {_UID_MAX_BYTES} bytes")
        self.uids[self._wanted[tag]] = uid

    def _leave(self, nesting: list[tuple[bool, bool]], delimiter: bytes) -> None:
        of_elements = nesting[-1][0]
        if len(nesting) == 1 or of_elements is not (delimiter == self._item_end):
            raise _UnreadableError("a delimiter where there is nothing to end")
        nesting.pop()

    def _length(self, head: bytes, *, implicit: bool) -> int | None:
        """The length in the eight bytes that an element or item begins with; None when it is in the next four."""
        if implicit:
            return int(self._long.unpack(head[4:])[0])
        vr = head[4:6]
        if vr in _LONG_FORM:
            return None
        if not (vr.isalpha() and vr.isupper()):  # private ones need only look like one
            raise _UnreadableError("an element without a VR")
        return int(self._short.unpack(head[6:])[0])
