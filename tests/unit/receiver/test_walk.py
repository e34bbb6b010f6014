"""The walk over a data set finds what pydicom finds and what is broken, however the bytes are cut, whatever they are."""

from __future__ import annotations

import random
import struct
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest

from receiver import walk as bounds
from receiver.part10 import Part10Error, read_head
from receiver.walk import INFLATED_MAX_BYTES, SERIES, SOP_CLASS, SOP_INSTANCE, STUDY, DataSetWalk
from tests.support.dicom import BUNDLED

EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
STUDY_UID, SERIES_UID = b"1.2.3\0", b"1.2.3.4\0"
TAIL = struct.pack("<HH2sH", 0x20, 0xD, b"UI", 6) + STUDY_UID + struct.pack("<HH2sH", 0x20, 0xE, b"UI", 8) + SERIES_UID
# Broken on purpose: pydicom guesses, or stops and says nothing.
BROKEN = {
    "MR_truncated.dcm": ("the data set ends within an element", (0x7FE0, 0x0010)),
    "rtplan_truncated.dcm": ("the data set ends within an element", (0x300A, 0x00B0)),
    "SC_rgb_jpeg.dcm": ("an element without a VR", (0x0008, 0x0008)),  # says explicit VR of itself and is implicit
}


def bundled() -> list[Path]:
    paths = []
    for path in sorted(BUNDLED.rglob("*")):
        if path.is_file():
            try:
                with path.open("rb") as file:
                    read_head(file)
            except Part10Error:
                continue
            paths.append(path)
    return paths


def data_set_of(path: Path) -> tuple[bytes, str]:
    with path.open("rb") as file:
        head = read_head(file)
        file.seek(head.data_set_offset)
        return file.read(), head.transfer_syntax_uid


def walked(data: bytes, syntax: str = EXPLICIT, *, piece_bytes: int = 2**20) -> DataSetWalk:
    walk = DataSetWalk(syntax)
    for at in range(0, len(data), piece_bytes):
        walk.feed(memoryview(data)[at : at + piece_bytes])
    walk.end()
    return walk


def findings(walk: DataSetWalk) -> tuple[object, ...]:
    return walk.uids, walk.unreadable, walk.complete


def uids(data: bytes, syntax: str = EXPLICIT) -> tuple[str, str]:
    found = walked(data, syntax).uids
    return found.get(STUDY, ""), found.get(SERIES, "")


def reason(data: bytes, syntax: str = EXPLICIT) -> str:
    unreadable = walked(data, syntax).unreadable
    return unreadable.reason if unreadable else ""


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_the_walk_finds_what_pydicom_finds_and_what_is_broken(path: Path) -> None:
    walk = walked(*data_set_of(path))
    if path.name in BROKEN:
        assert walk.unreadable is not None
        assert (walk.unreadable.reason, walk.unreadable.tag) == BROKEN[path.name]
        assert not walk.complete
        return
    keywords = {
        SOP_CLASS: "SOPClassUID",
        SOP_INSTANCE: "SOPInstanceUID",
        STUDY: "StudyInstanceUID",
        SERIES: "SeriesInstanceUID",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, specific_tags=list(keywords.values()), stop_before_pixels=True)
    wanted = {tag: str(data_set[keyword].value or "") for tag, keyword in keywords.items() if keyword in data_set}
    assert findings(walk) == (wanted, None, True)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_the_walk_finds_the_same_however_the_bytes_are_cut(piece_bytes: int) -> None:
    for path in bundled():
        if path.stat().st_size < 20_000 or path.name in BROKEN:
            data, syntax = data_set_of(path)
            assert findings(walked(data, syntax, piece_bytes=piece_bytes)) == findings(walked(data, syntax)), path.name


def nested(depth: int) -> bytes:
    sequence = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return sequence * depth + TAIL + end * depth


def test_uids_inside_sequences_are_not_taken_for_the_data_sets_own() -> None:
    other = nested(3).replace(STUDY_UID, b"9.9.9\0") + TAIL
    assert uids(other) == ("1.2.3", "1.2.3.4")


def test_an_unknown_sequence_of_undefined_length_is_implicit_inside() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HHI", 0x11, 0x1001, 2) + b"ab"
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    assert uids(struct.pack("<HH2sHI", 0x11, 0x1000, b"UN", 0, 0xFFFFFFFF) + item + end + TAIL) == ("1.2.3", "1.2.3.4")


def test_a_private_vr_is_passed_by_its_length() -> None:
    assert uids(struct.pack("<HH2sH", 0x11, 0x1000, b"ZZ", 4) + b"abcd" + TAIL) == ("1.2.3", "1.2.3.4")


def test_big_endian_and_deflated_are_read() -> None:
    swapped = struct.pack(">HH2sH", 0x20, 0xD, b"UI", 6) + STUDY_UID + struct.pack(">HH2sH", 0x20, 0xE, b"UI", 8) + SERIES_UID
    assert uids(swapped, BIG_ENDIAN) == ("1.2.3", "1.2.3.4")
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert uids(deflate.compress(TAIL) + deflate.flush(), DEFLATED) == ("1.2.3", "1.2.3.4")


@pytest.mark.parametrize("syntax", ["1.2.3.4", "", "1.2.840.10008.1.2.9999", "1.2.840.10008.5.1.4.1.1.2"])
def test_an_unknown_transfer_syntax_is_not_walked(syntax: str) -> None:
    assert findings(walked(TAIL, syntax)) == ({}, None, False)


END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
PIXELS = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
FRAME = struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"jpeg"
OFFSETS = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"])
def test_encapsulated_pixel_data_must_end_in_its_delimiter(syntax: str) -> None:
    whole = TAIL + PIXELS + OFFSETS + FRAME + FRAME + END
    assert findings(walked(whole, syntax))[1:] == (None, True)
    no_end = "a sequence or the pixel data has no end, which is (FFFE,E0DD)"
    for cut, said in ((8, no_end), (20, no_end), (10, "within an element"), (18, "within an element")):
        unreadable = walked(whole[:-cut], syntax).unreadable
        assert unreadable is not None
        assert said in unreadable.reason
        assert unreadable.tag == (0x7FE0, 0x0010)


def test_a_long_uid_and_a_long_padding_are_read() -> None:
    """As long as a command may name; PS3.5 9.1 allows 64."""
    for uid, padding in ((b"1" * 512, b""), (b"1.2.3", b"\0" * 4091)):
        walk = walked(struct.pack("<HH2sH", 0x20, 0xD, b"UI", len(uid + padding)) + uid + padding)
        assert (walk.unreadable, walk.uids[0x20, 0xD]) == (None, uid.decode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TAIL[:3], "the data set ends within an element"),
        (TAIL[:10], "the data set ends within an element"),
        (struct.pack("<HH2sHI", 8, 0x10, b"OB", 0, 0x7FFFFFFF) + TAIL, "the data set ends within an element"),
        (struct.pack("<HH2sHI", 8, 0x10, b"UT", 0, 0xFFFFFFF0) + TAIL, "the data set ends within an element"),
        (struct.pack("<HH2sH", 0x20, 0xD, b"UI", 0xFFFF) + b"1" * 0xFFFF + TAIL, "a UID of more than 512 bytes"),
        (struct.pack("<HH2sH", 0x20, 0xD, b"UI", 514) + b"1" * 513 + b"\0" + TAIL, "a UID of more than 512 bytes"),
        (nested(100000), "sequences nested more than 64 deep"),
        (END * 10, "a delimiter where there is nothing to end"),
        (PIXELS + FRAME + struct.pack("<HHI", 0xFFFE, 0xE00D, 0), "a delimiter where there is nothing to end"),
        (PIXELS + TAIL, "an item outside a sequence, or something else within one"),
        (FRAME, "an item outside a sequence, or something else within one"),
        (TAIL + b"\x28\0\x10\0\1\2\0\0", "an element without a VR"),
    ],
    ids=[
        *("cut tag", "cut value", "length beyond", "length 4 GiB", "endless UID", "long UID", "deep nesting", "only ends"),
        *("other end", "no item", "item alone", "no VR"),
    ],
)
def test_what_makes_no_sense_is_unreadable(data: bytes, said: str) -> None:
    assert reason(data) == said


def test_what_was_read_before_the_data_set_breaks_stands() -> None:
    assert uids(TAIL[:14] + b"\xff\xff") == ("1.2.3", "")


@pytest.mark.parametrize("padding", [1, 7, 8, 5000])
def test_zeros_after_the_last_element_are_padding(padding: int) -> None:
    assert findings(walked(TAIL + bytes(padding)))[1:] == (None, True)


def test_nothing_at_all_is_a_whole_data_set() -> None:
    assert findings(walked(b"")) == ({}, None, True)


def deflated(*data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"".join(map(deflate.compress, data)) + deflate.flush()


def test_deflated_data_must_end_and_may_be_padded() -> None:
    packed = deflated(TAIL)
    assert findings(walked(packed + b"\0", DEFLATED))[1:] == (None, True)
    assert reason(packed[:-3], DEFLATED) == "the deflated data set ends early"
    assert reason(deflated(TAIL[:-1]), DEFLATED) == "the data set ends within an element"
    assert reason(b"\xff" * 20, DEFLATED) == "the data set cannot be inflated"


def test_what_inflates_without_end_is_walked_to_the_bound_and_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert INFLATED_MAX_BYTES >= 2**30
    monkeypatch.setattr(bounds, "INFLATED_MAX_BYTES", 2**20)
    bomb = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFF0)
    assert findings(walked(deflated(TAIL, bomb, bytes(2**22)), DEFLATED)) == ({STUDY: "1.2.3", SERIES: "1.2.3.4"}, None, False)


def test_items_without_end_are_walked_to_the_bound_and_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "HEADERS_MAX", 1000)
    assert findings(walked(TAIL + PIXELS + OFFSETS * 2000)) == ({STUDY: "1.2.3", SERIES: "1.2.3.4"}, None, False)


def test_noise_never_raises() -> None:
    noise = random.Random(7)
    for _ in range(3000):
        data = bytearray(nested(2) + TAIL)
        for _ in range(noise.randint(1, 6)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
            walked(bytes(data), syntax, piece_bytes=noise.randint(1, 60))
