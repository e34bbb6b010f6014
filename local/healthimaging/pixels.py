"""What an import warns of in the pixel data: its length, its fragments, its offset table (PS3.5 8 and A.4).

Only structure is looked at, nothing is decoded: TranscodingException comes on demand alone (faults.py). Which structure
gets which warning is our reading of the warnings' names; AWS documents no more than these.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.healthimaging.causes import FileWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Read = Callable[[int, int], bytes]  # (first byte, how many): fewer at the end of the file

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_ITEM_HEADER_BYTES = 8
_VIDEO = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))  # all frames in one stream


@dataclass(frozen=True)
class PixelData:
    """Where the value of (7FE0,0010) begins in the file. `length_bytes` is None for encapsulated frames."""

    offset: int
    length_bytes: int | None


def pixel_warnings(
    pixels: PixelData, attributes: Mapping[str, str], transfer_syntax_uid: str, size_bytes: int, read: Read
) -> list[FileWarning]:
    """`attributes` are the instance's; where they do not say how large a frame is, there is nothing to compare with."""
    frames = _number(attributes, "NumberOfFrames", 1)
    if pixels.length_bytes is not None:
        return list(_native(pixels, attributes, frames, size_bytes))
    if transfer_syntax_uid in _VIDEO:
        return []
    return list(_encapsulated(pixels, frames, size_bytes, read))


def _native(pixels: PixelData, attributes: Mapping[str, str], frames: int, size_bytes: int) -> Iterator[FileWarning]:
    rows, columns, allocated = (_number(attributes, name, 0) for name in ("Rows", "Columns", "BitsAllocated"))
    samples = _number(attributes, "SamplesPerPixel", 1)
    if attributes.get("PhotometricInterpretation", "").startswith("YBR_FULL_422"):
        samples = 2  # two chrominance samples for every two pixels (PS3.3 C.7.6.3.1.2)
    frame_bits = rows * columns * samples * allocated
    length = pixels.length_bytes or 0
    if pixels.offset + length > size_bytes:
        yield FileWarning("FramesExtractionFailure", "The pixel data is longer than the file")
    elif frame_bits and length < (frames * frame_bits + 7) // 8:
        yield FileWarning("FramesExtractionFailure", "The pixel data is shorter than its frames")
    elif frame_bits and length >= ((frames + 1) * frame_bits + 7) // 8:
        yield FileWarning("FrameNumberMismatch", "The pixel data holds more frames than NumberOfFrames says")


def _encapsulated(pixels: PixelData, frames: int, size_bytes: int, read: Read) -> Iterator[FileWarning]:
    items = _items(pixels.offset, size_bytes, read)
    try:
        table_offset, table_bytes = next(items)
        offsets = struct.unpack(f"<{table_bytes // 4}L", read(table_offset, table_bytes // 4 * 4))
        if not offsets and frames == 1:
            next(items)  # one fragment is enough: the frame may have more
            return
        fragments = [start - _ITEM_HEADER_BYTES for start, _ in items]
    except (_BrokenError, struct.error, StopIteration):
        yield FileWarning("FramesExtractionFailure", "The fragments of the pixel data cannot be read")
        return
    first = table_offset + table_bytes
    if offsets and (offsets[0] != 0 or not {first + offset for offset in offsets} <= set(fragments)):
        yield FileWarning("InvalidOffsetTable", "The Basic Offset Table does not point at the fragments")
    elif (len(offsets) != frames) if offsets else (len(fragments) < frames):
        yield FileWarning("FrameNumberMismatch", "The pixel data does not hold as many frames as NumberOfFrames says")


class _BrokenError(Exception):
    """The items do not follow each other to a Sequence Delimitation Item."""


def _items(offset: int, size_bytes: int, read: Read) -> Iterator[tuple[int, int]]:
    """Where the value of each item begins, and its length; the first is the Basic Offset Table. Raises _BrokenError."""
    while True:
        header = read(offset, _ITEM_HEADER_BYTES)
        if len(header) < _ITEM_HEADER_BYTES:
            raise _BrokenError
        group, element, length = struct.unpack("<HHL", header)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return
        start = offset + _ITEM_HEADER_BYTES
        if tag != _ITEM or start + length > size_bytes:
            raise _BrokenError
        yield start, length
        offset = start + length


def _number(attributes: Mapping[str, str], keyword: str, default: int) -> int:
    text = attributes.get(keyword, "")
    return int(text) if text.isascii() and text.isdecimal() else default
