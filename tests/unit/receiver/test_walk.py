"""The walk over a data set finds what pydicom finds, and survives whatever bytes it is given."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID

from receiver.part10 import Part10Error, read_head
from receiver.walk import WALKED_MAX_BYTES, study_and_series
from tests.support.dicom import BUNDLED

EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
STUDY, SERIES = b"1.2.3\0", b"1.2.3.4\0"
TAIL = struct.pack("<HH2sH", 0x20, 0xD, b"UI", 6) + STUDY + struct.pack("<HH2sH", 0x20, 0xE, b"UI", 8) + SERIES
# Says explicit VR of itself and is implicit; pydicom guesses, the walk does not.
MISLABELLED = "SC_rgb_jpeg.dcm"


def bundled() -> list[Path]:
    paths = []
    for path in sorted(BUNDLED.rglob("*")):
        if path.is_file() and path.name != MISLABELLED:
            try:
                with path.open("rb") as file:
                    read_head(file)
            except Part10Error:
                continue
            paths.append(path)
    return paths


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_the_walk_finds_what_pydicom_finds(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"], stop_before_pixels=True)
        wanted = (str(data_set.get("StudyInstanceUID") or ""), str(data_set.get("SeriesInstanceUID") or ""))
    with path.open("rb") as file:
        head = read_head(file)
        file.seek(head.data_set_offset)
        assert study_and_series(file, head.transfer_syntax_uid) == wanted


def walk(data: bytes, syntax: str = EXPLICIT) -> tuple[str, str]:
    return study_and_series(io.BytesIO(data), syntax)


def nested(depth: int) -> bytes:
    sequence = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return sequence * depth + TAIL + end * depth


def test_uids_inside_sequences_are_not_taken_for_the_data_sets_own() -> None:
    other = nested(3).replace(STUDY, b"9.9.9\0") + TAIL
    assert walk(other) == ("1.2.3", "1.2.3.4")


def test_an_unknown_sequence_of_undefined_length_is_implicit_inside() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HHI", 0x11, 0x1001, 2) + b"ab"
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    assert walk(struct.pack("<HH2sHI", 0x11, 0x1000, b"UN", 0, 0xFFFFFFFF) + item + end + TAIL) == ("1.2.3", "1.2.3.4")


def test_a_private_vr_is_passed_by_its_length() -> None:
    assert walk(struct.pack("<HH2sH", 0x11, 0x1000, b"ZZ", 4) + b"abcd" + TAIL) == ("1.2.3", "1.2.3.4")


def test_big_endian_and_deflated_are_read() -> None:
    swapped = struct.pack(">HH2sH", 0x20, 0xD, b"UI", 6) + STUDY + struct.pack(">HH2sH", 0x20, 0xE, b"UI", 8) + SERIES
    assert walk(swapped, BIG_ENDIAN) == ("1.2.3", "1.2.3.4")
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert walk(deflate.compress(TAIL) + deflate.flush(), DEFLATED) == ("1.2.3", "1.2.3.4")


@pytest.mark.parametrize("syntax", ["1.2.3.4", "", "1.2.840.10008.1.2.9999", "1.2.840.10008.5.1.4.1.1.2"])
def test_an_unknown_transfer_syntax_is_not_walked(syntax: str) -> None:
    assert walk(TAIL, syntax) == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TAIL[:3],
        TAIL[:10],
        struct.pack("<HH2sHI", 8, 0x10, b"OB", 0, 0x7FFFFFFF) + TAIL,
        struct.pack("<HH2sHI", 8, 0x10, b"UT", 0, 0xFFFFFFF0) + TAIL,
        struct.pack("<HH2sH", 0x20, 0xD, b"UI", 0xFFFF) + b"1" * 0xFFFF + TAIL,
        nested(100000),
        struct.pack("<HHI", 0xFFFE, 0xE00D, 0) * 10,
    ],
    ids=["empty", "cut tag", "cut value", "length beyond", "length 4 GiB", "endless UID", "deep nesting", "only ends"],
)
def test_what_makes_no_sense_gives_empty_uids(data: bytes) -> None:
    assert walk(data) == ("", "")


def test_what_was_read_before_the_data_set_breaks_stands() -> None:
    assert walk(TAIL[:14] + b"\xff\xff") == ("1.2.3", "")


def test_a_small_file_that_inflates_without_end_is_given_up() -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = struct.pack("<HH2sHI", 8, 0x10, b"OB", 0, 0xFFFFFFF0)
    packed = deflate.compress(bomb) + deflate.compress(bytes(WALKED_MAX_BYTES * 2)) + deflate.flush()
    assert walk(packed, DEFLATED) == ("", "")


def test_noise_never_raises() -> None:
    noise = random.Random(7)
    for _ in range(3000):
        data = bytearray(nested(2) + TAIL)
        for _ in range(noise.randint(1, 6)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
            study_and_series(io.BytesIO(bytes(data)), str(UID(syntax)))
