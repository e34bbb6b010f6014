"""Reads the header of a DICOM object in S3, and no more of it than is needed.

A header is everything up to and with group 0028: elements stand in ascending order of tags (PS3.5 7.1), and the catalog
has no attribute beyond. It is complete when the walk below met a higher tag, or the object's end at the end of an element.
That is known from tags and lengths alone: pydicom, given a buffer that was cut within a sequence, raises nothing and returns
a shorter sequence. What is missing is fetched up to where it is known to end and a little further, or else by doubling.

The bytes are trusted more than the transfer syntax. Whether a data set has VRs is seen once, at its first element. In one that
has none no VR is looked for: where it would stand are the low 16 bits of a length, which may be two letters (20,300 is LO). In
one that has VRs a single element may lack its own; that is seen at the element.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

FIRST_READ_BYTES = 16 * 1024
"""A header without private blobs is of 2 to 10 KiB; a second read costs S3's latency, which many side by side hide."""
_SECOND_READ_BYTES = 64 * 1024
LARGE_BYTES = 1024 * 1024
HEADER_MAX_BYTES = 64 * 1024 * 1024
_NEST_MAX = 64

LAST_GROUP = 0x0028
"""Private blobs of 100 KB stand in group 0029 of many scanners' objects."""
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_PREAMBLE_BYTES = 128
_UNDEFINED = 0xFFFFFFFF
_STRUCTS = {
    is_little: (struct.Struct(f"{order}HH2sH"), struct.Struct(f"{order}L")) for is_little, order in ((True, "<"), (False, ">"))
}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_GROUP = 0x7FE0
# PS3.5 7.1.2: these have two reserved bytes and a length of four. The others that it names are short.
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

ReadRange = Callable[[int, int], bytes]
"""(first, count) -> bytes, fewer at the object's end."""


class UnreadableError(Exception):
    """The object cannot be read as DICOM. The text is the reason to record; it quotes no value."""


class Element(NamedTuple):
    """Where an element's value stands in `Header.data_set`. `vr` is empty where the element has none."""

    vr: str
    first: int
    end: int
    is_delimited: bool
    """Whether its length is undefined: then the delimiter is part of the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A data set up to and with group 0028, inflated, in whole elements. `transfer_syntax_uid` is empty without file meta.

    `elements` are those that were asked for, by tag: of one that comes twice the last.
    """

    data_set: bytes
    elements: Mapping[int, Element]
    implicit_vr: bool
    little_endian: bool
    transfer_syntax_uid: str
    fetched_bytes: int


class _MoreError(Exception):
    """The walk came to the end of what was fetched: at least `size_bytes` of what was walked are needed."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes = size_bytes


def read_header(
    read_range: ReadRange,
    size_bytes: int,
    tags: Container[int] = (),
    before_large: Callable[[], object] = lambda: None,
) -> Header:
    """Fetch and delimit the header of an object of `size_bytes`, and find the elements with these tags.

    `before_large` is called, once or more, before it takes more than LARGE_BYTES, or is inflated to nobody knows how much.
    Raises UnreadableError, and what `read_range` raises.
    """
    buffer = b""
    wanted = FIRST_READ_BYTES
    while True:
        wanted = min(wanted, size_bytes)
        if wanted > HEADER_MAX_BYTES:
            raise UnreadableError(f"its header goes beyond {HEADER_MAX_BYTES} bytes")
        if wanted > LARGE_BYTES:
            before_large()
        fetched = read_range(len(buffer), wanted - len(buffer)) if wanted > len(buffer) else b""
        if len(fetched) != wanted - len(buffer):
            raise UnreadableError(f"it has {len(buffer) + len(fetched)} bytes in S3, and {size_bytes} in the manifest")
        buffer += fetched
        try:
            return _delimit(buffer, tags, before_large, whole=len(buffer) == size_bytes)
        except _MoreError as more:
            if len(buffer) == size_bytes:  # inflated to the limit, and not to the header's end
                raise UnreadableError(f"its header goes beyond {HEADER_MAX_BYTES} bytes") from None
            wanted = max(more.size_bytes + FIRST_READ_BYTES, 2 * len(buffer), _SECOND_READ_BYTES)


def _delimit(buffer: bytes, tags: Container[int], before_large: Callable[[], object], *, whole: bool) -> Header:
    first, transfer_syntax_uid = _file_meta(buffer, whole=whole)
    data_set = buffer[first:]
    deflated = transfer_syntax_uid == DEFLATED
    if deflated:
        before_large()
        data_set, whole = _inflated(data_set, whole=whole)
    little_endian = _little_endian(data_set, transfer_syntax_uid)
    implicit_vr = _implicit_vr(data_set, transfer_syntax_uid)
    walk = _Walk(data_set, implicit_vr=implicit_vr, little_endian=little_endian, whole=whole)
    try:
        end, elements = walk.header(tags)
    except _MoreError as more:
        if deflated:
            raise _MoreError(0) from None  # how far to read on, nobody knows
        raise _MoreError(first + more.size_bytes) from None
    return Header(
        data_set=data_set[:end],
        elements=elements,
        implicit_vr=implicit_vr,
        little_endian=little_endian,
        transfer_syntax_uid=transfer_syntax_uid,
        fetched_bytes=len(buffer),
    )


def _inflated(deflated: bytes, *, whole: bool) -> tuple[bytes, bool]:
    """The data set, as far as it can be inflated, and whether that is all of it (PS3.5 A.5: RFC 1951, no zlib header)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data_set = inflater.decompress(deflated, HEADER_MAX_BYTES)
    except zlib.error:
        raise UnreadableError("its deflated data set is broken") from None
    if whole and not inflater.eof and not inflater.unconsumed_tail:
        raise UnreadableError("its deflated data set is cut short")
    return data_set, inflater.eof


def _file_meta(buffer: bytes, *, whole: bool) -> tuple[int, str]:
    """Where the data set begins, and the transfer syntax (PS3.10 7.1). Objects without preamble or meta are known too."""
    has_preamble = buffer[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM"
    walk = _Walk(buffer, implicit_vr=False, little_endian=True, whole=whole)
    at = first = _PREAMBLE_BYTES + 4 if has_preamble else 0
    transfer_syntax_uid = ""
    while buffer[at : at + 2] == b"\x02\x00":
        tag, _, length, value_at = walk.element(at)
        at = walk.after(tag, length, value_at)
        if tag == 0x00020010:
            transfer_syntax_uid = buffer[value_at:at].rstrip(b"\0 ").decode("latin-1")
    if not has_preamble and at == first and not _plausible(buffer):
        raise UnreadableError("it is not DICOM: it has no preamble, and does not begin with an element of a data set")
    return at, transfer_syntax_uid


def _plausible(buffer: bytes) -> bool:
    """Whether a data set may begin here: with an element of group 0008 (or 0004 to 0010), in either byte order."""
    groups = (int.from_bytes(buffer[:2], "little"), int.from_bytes(buffer[:2], "big"))
    return len(buffer) >= 8 and any(0x0004 <= group <= 0x0010 for group in groups)


def _little_endian(data_set: bytes, transfer_syntax_uid: str) -> bool:
    if transfer_syntax_uid:
        return transfer_syntax_uid != BIG_ENDIAN
    return not (data_set[:1] == b"\0" and data_set[1:2] != b"\0")


def _implicit_vr(data_set: bytes, transfer_syntax_uid: str) -> bool:
    """Whether the data set has no VRs. Where the transfer syntax says so, a first element with a VR must have its own."""
    vr = data_set[4:6]
    if not (vr.isalpha() and vr.isupper()):
        return True
    if transfer_syntax_uid != IMPLICIT:
        return False
    tag = int.from_bytes(data_set[:2], "little") << 16 | int.from_bytes(data_set[2:4], "little")
    own_vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "UL"  # of a group length
    return vr.decode() != own_vr


class _Walk:
    """Steps from element to element of a data set, of which `buffer` has the beginning, or the `whole`."""

    def __init__(self, buffer: bytes, *, implicit_vr: bool, little_endian: bool, whole: bool) -> None:
        self._implicit_vr = implicit_vr
        self._short_vrs = frozenset[bytes]() if implicit_vr else _SHORT_VRS
        self._buffer = buffer
        self._size = len(buffer)
        self._whole = whole
        self._head, self._long = _STRUCTS[little_endian]

    def header(self, tags: Container[int]) -> tuple[int, dict[int, Element]]:
        """Where the header ends, and the elements with these tags. Raises _MoreError, UnreadableError."""
        at, elements = 0, {}
        buffer, size, unpack, short_vrs = self._buffer, self._size, self._head.unpack_from, self._short_vrs
        while not (self._whole and at == size):
            if at + 8 <= size:
                group, number, vr, length = unpack(buffer, at)
                if vr in short_vrs and group <= LAST_GROUP and at + 8 + length <= size:  # nearly all, without a call
                    tag, value_at, at = group << 16 | number, at + 8, at + 8 + length
                    if tag in tags:
                        elements[tag] = Element(vr.decode(), value_at, at, is_delimited=False)
                    continue
            tag, vr, length, value_at = self.element(at)
            if tag >> 16 > LAST_GROUP:
                break
            at = self.after(tag, length, value_at)
            if tag in tags:
                elements[tag] = Element(vr.decode(), value_at, at, length == _UNDEFINED)
        return at, elements

    def element(self, at: int) -> tuple[int, bytes, int, int]:
        """(tag, VR, length, where the value is) of the element at `at`, which has a VR if one may be seen there (PS3.5 7.1)."""
        if at + 8 > self._size:
            self._need(at + 8)
        group, number, vr, length = self._head.unpack_from(self._buffer, at)
        tag = group << 16 | number
        if vr in self._short_vrs and group != 0xFFFE:
            return tag, vr, length, at + 8
        if self._implicit_vr or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return tag, b"", self._long.unpack_from(self._buffer, at + 4)[0], at + 8
        if vr in _LONG_VRS:
            self._need(at + 12)
            return tag, vr, self._long.unpack_from(self._buffer, at + 8)[0], at + 12
        return tag, vr, length, at + 8

    def after(self, tag: int, length: int, value_at: int, depth: int = 0) -> int:
        """Where the element after this one begins; all of this one is in the buffer."""
        if length != _UNDEFINED:
            if value_at + length > self._size:
                self._need(value_at + length, tag)
            return value_at + length
        if depth > _NEST_MAX:
            raise UnreadableError(f"its sequences nest deeper than {_NEST_MAX}")
        return self._after_items(value_at, tag, depth)

    def _after_items(self, at: int, sequence: int, depth: int) -> int:
        """Past a sequence of undefined length, or the fragments of encapsulated pixels (PS3.5 7.5, A.4)."""
        while True:
            self._need(at + 8, sequence)
            tag, _, length, at = self.element(at)
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise UnreadableError(f"the sequence {_name(sequence)} holds {_name(tag)} in place of an item")
            if length != _UNDEFINED:
                self._need(at + length, sequence)
                at += length
                continue
            while True:
                self._need(at + 8, sequence)
                tag, _, length, value_at = self.element(at)
                if tag == _ITEM_END:
                    at = value_at
                    break
                at = self.after(tag, length, value_at, depth + 1)

    def _need(self, end: int, tag: int | None = None) -> None:
        if end > self._size:
            if self._whole:
                within = f"within {_name(tag)}" if tag is not None else "within an element's tag and length"
                raise UnreadableError(f"it is cut short: it ends {within}, {end - self._size} bytes too early")
            raise _MoreError(end)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
