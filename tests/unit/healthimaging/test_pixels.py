"""Which faults in the structure of pixel data are warned of, and under which name."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from local.healthimaging.headers import read_header
from local.healthimaging.pixels import PixelData, pixel_warnings
from tests.support.elements import ITEM, ITEM_END, SEQUENCE_END

IMAGE = {"Rows": "2", "Columns": "4", "SamplesPerPixel": "1", "BitsAllocated": "8"}
JPEG = "1.2.840.10008.1.2.4.50"
VIDEO = "1.2.840.10008.1.2.4.102"
END = SEQUENCE_END + bytes(4)


def item(content: bytes) -> bytes:
    return ITEM + struct.pack("<L", len(content)) + content


def table(*offsets: int) -> bytes:
    return item(struct.pack(f"<{len(offsets)}L", *offsets))


def warned(content: bytes, length: int | None, syntax: str = JPEG, **attributes: str) -> list[str]:
    def read(first: int, count: int) -> bytes:
        return content[first : first + count]

    found = pixel_warnings(PixelData(0, length), IMAGE | attributes, syntax, len(content), read)
    return [warning.type for warning in found]


@pytest.mark.parametrize(
    ("size", "attributes", "expected"),
    [
        (8, {}, []),
        (9, {}, []),  # padding
        (7, {}, ["FramesExtractionFailure"]),
        (16, {"NumberOfFrames": "2"}, []),
        (16, {}, ["FrameNumberMismatch"]),
        (8, {"NumberOfFrames": "2"}, ["FramesExtractionFailure"]),
        (24, {"SamplesPerPixel": "3", "PhotometricInterpretation": "RGB"}, []),
        (16, {"SamplesPerPixel": "3", "PhotometricInterpretation": "YBR_FULL_422"}, []),
        (2, {"BitsAllocated": "1", "NumberOfFrames": "2"}, []),
        (1, {"Rows": ""}, []),
    ],
)
def test_native_pixel_data_has_the_length_that_the_attributes_say(
    size: int, attributes: dict[str, str], expected: list[str]
) -> None:
    assert warned(bytes(size), size, **attributes) == expected


def test_pixel_data_that_is_cut_off_is_warned_of() -> None:
    assert warned(bytes(7), 8) == ["FramesExtractionFailure"]


FRAMES = [item(b"frame-1."), item(b"frame-2.")]


@pytest.mark.parametrize(
    ("content", "frames", "expected"),
    [
        (table() + FRAMES[0] + END, 1, []),
        (table() + FRAMES[0] + FRAMES[1] + END, 1, []),  # a frame may have several fragments
        (table() + FRAMES[0] + FRAMES[1] + END, 2, []),
        (table() + FRAMES[0] + END, 2, ["FrameNumberMismatch"]),
        (table(0, 16) + FRAMES[0] + FRAMES[1] + END, 2, []),
        (table(0, 16) + FRAMES[0] + FRAMES[1] + END, 3, ["FrameNumberMismatch"]),
        (table(0, 15) + FRAMES[0] + FRAMES[1] + END, 2, ["InvalidOffsetTable"]),
        (table(16, 0) + FRAMES[0] + FRAMES[1] + END, 2, ["InvalidOffsetTable"]),
        (table(), 1, ["FramesExtractionFailure"]),
        (table() + END, 1, ["FramesExtractionFailure"]),
        (table() + FRAMES[0][:-1], 1, ["FramesExtractionFailure"]),
        (ITEM_END, 1, ["FramesExtractionFailure"]),
        (b"", 1, ["FramesExtractionFailure"]),
    ],
)
def test_encapsulated_pixel_data_has_fragments_for_its_frames(content: bytes, frames: int, expected: list[str]) -> None:
    assert warned(content, None, NumberOfFrames=str(frames)) == expected


def test_the_frames_of_a_video_are_not_counted() -> None:
    assert warned(table() + FRAMES[0] + END, None, VIDEO, NumberOfFrames="500") == []


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    ("name", "encapsulated"),
    [
        ("CT_small.dcm", False),
        ("MR_small_bigendian.dcm", False),
        ("MR_small_implicit.dcm", False),
        ("JPEG2000.dcm", True),
        ("rtdose.dcm", False),
        ("examples_ybr_color.dcm", True),
        ("SC_rgb_small_odd.dcm", False),
        ("liver_1frame.dcm", False),
    ],
)
def test_sound_objects_are_not_warned_of(name: str, *, encapsulated: bool) -> None:
    content = Path(str(get_testdata_file(name, download=False))).read_bytes()
    header = read_header("key", content, whole=True)
    assert header is not None
    assert header.pixel_data is not None
    assert (header.pixel_data.length_bytes is None) == encapsulated
    pixels, syntax = header.pixel_data, header.transfer_syntax_uid
    assert (
        pixel_warnings(pixels, header.instance, syntax, len(content), lambda first, count: content[first : first + count]) == []
    )
