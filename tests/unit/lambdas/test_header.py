"""How far an object is read: complete by tag and length, grown where it must be, refused with a reason."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.logic.header import FIRST_READ_BYTES, Header, UnreadableError, read_header
from tests.support.elements import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    element,
    implicit,
    part10,
    undefined,
)

PIXELS = b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", 1 << 20) + bytes(1 << 20)


class Reads:
    """An object in S3 that remembers how it was read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, first: int, count: int) -> bytes:
        self.ranges.append((first, count))
        return self.content[first : first + count]

    def header(self) -> Header:
        return read_header(self, len(self.content))


SOP = element(0x00080018, b"UI", b"1.2.3\0")
ROWS = element(0x00280010, b"US", b"\x40\0")


def test_a_usual_object_costs_one_read_of_16_kib() -> None:
    reads = Reads(part10(SOP + ROWS + PIXELS))
    assert reads.header().data_set == SOP + ROWS
    assert reads.ranges == [(0, FIRST_READ_BYTES)]


def test_what_comes_after_group_0028_is_not_fetched() -> None:
    functional_groups = element(0x52009230, b"SQ", bytes(500_000))
    reads = Reads(part10(SOP + ROWS + functional_groups + PIXELS))
    assert reads.header().data_set == SOP + ROWS
    assert len(reads.ranges) == 1


def test_a_sequence_of_known_length_that_was_cut_is_fetched_to_its_end() -> None:
    """pydicom raises nothing for such a cut, and returns a shorter sequence."""
    items = b"".join(ITEM + struct.pack("<L", 1000) + element(0x00400007, b"LO", bytes(992)) for _ in range(300))
    sequence = element(0x00081115, b"SQ", items)
    reads = Reads(part10(SOP + sequence + ROWS + PIXELS))
    assert reads.header().data_set == SOP + sequence + ROWS
    assert len(reads.ranges) == 2
    assert reads.header().fetched_bytes < len(reads.content)


def test_a_sequence_of_unknown_length_that_was_cut_is_fetched_by_doubling() -> None:
    items = b"".join(ITEM + UNDEFINED + element(0x00081150, b"UI", b"1.2.840\0" * 16) + ITEM_END for _ in range(2000))
    sequence = undefined(0x00081115, b"SQ", items)
    reads = Reads(part10(SOP + sequence + ROWS + PIXELS))
    assert reads.header().data_set == SOP + sequence + ROWS
    assert [count for _, count in reads.ranges] == [one * 1024 for one in (16, 48, 64, 128, 256)]
    assert reads.header().fetched_bytes < 2 * (len(sequence) + FIRST_READ_BYTES)


def test_sequences_within_sequences_and_fragments_are_walked() -> None:
    icon = undefined(0x00880200, b"SQ", ITEM + UNDEFINED + undefined(0x7FE00010, b"OB", ITEM + b"\4\0\0\0abcd") + ITEM_END)
    nested = undefined(0x00081140, b"SQ", ITEM + UNDEFINED + icon + ITEM_END)
    unknown = undefined(0x00091010, b"UN", ITEM + UNDEFINED + b"\x08\0\x50\x11\x02\0\0\x00ab" + ITEM_END)
    assert Reads(part10(SOP + nested + unknown + ROWS)).header().data_set == SOP + nested + unknown + ROWS


def test_an_object_without_pixels_ends_where_it_ends() -> None:
    assert Reads(part10(SOP)).header().data_set == SOP
    assert Reads(part10(b"")).header().data_set == b""


@pytest.mark.parametrize("size", range(1, len(SOP) + len(ROWS)))
def test_an_object_that_is_cut_short_within_an_element_is_refused_and_one_cut_between_is_not(size: int) -> None:
    reads = Reads(part10((SOP + ROWS)[:size]))
    if size == len(SOP):
        assert reads.header().data_set == SOP
    else:
        with pytest.raises(UnreadableError, match="cut short"):
            reads.header()


def test_an_object_that_is_cut_short_within_its_pixels_is_still_read() -> None:
    assert Reads(part10(SOP + ROWS + PIXELS[:100])).header().data_set == SOP + ROWS


def test_an_object_that_is_shorter_in_s3_than_in_the_manifest_is_refused() -> None:
    content = part10(SOP + ROWS)
    with pytest.raises(UnreadableError, match=f"has {len(content)} bytes in S3, and {len(content) + 9} in the manifest"):
        read_header(Reads(content), len(content) + 9)


def test_of_a_deflated_object_no_more_is_fetched_than_its_header_needs() -> None:
    compressor = zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
    blob = element(0x00091010, b"UN", bytes(100_000))
    reads = Reads(part10(compressor.compress(SOP + blob + ROWS + PIXELS) + compressor.flush(), DEFLATED))
    header = reads.header()
    assert (header.data_set, header.transfer_syntax_uid) == (SOP + blob + ROWS, DEFLATED)
    assert header.fetched_bytes == 128 * 1024


@pytest.mark.parametrize(("cut", "reason"), [(slice(0, -3), "cut short"), (slice(1, None), "broken|cut short|DICOM")])
def test_a_deflated_object_that_is_damaged_is_refused(cut: slice, reason: str) -> None:
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    deflated = compressor.compress(SOP + ROWS) + compressor.flush()
    with pytest.raises(UnreadableError, match=reason):
        Reads(part10(deflated[cut], DEFLATED)).header()


def test_a_header_that_inflates_beyond_all_bounds_is_refused() -> None:
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    huge = struct.pack("<HH", 0x0009, 0x1010) + b"UN\0\0" + struct.pack("<L", 200 << 20)
    deflated = compressor.compress(SOP + huge)
    deflated += b"".join(compressor.compress(bytes(1 << 20)) for _ in range(70)) + compressor.flush()
    with pytest.raises(UnreadableError, match="beyond"):
        Reads(part10(deflated, DEFLATED)).header()


def test_a_header_beyond_the_limit_is_refused_before_it_is_fetched() -> None:
    reads = Reads(part10(SOP + element(0x00091010, b"UN", bytes(65 << 20)) + ROWS))
    with pytest.raises(UnreadableError, match="beyond"):
        reads.header()
    assert sum(count for _, count in reads.ranges) == FIRST_READ_BYTES


def test_byte_order_and_vrs_are_seen_at_the_elements() -> None:
    big = b"\0\x08\0\x18UI\0\x06" + b"1.2.3\0"
    implicit = b"\x08\0\x18\0\x06\0\0\0" + b"1.2.3\0"
    for content, implicit_vr, little_endian in (
        (part10(SOP), False, True),
        (part10(big, BIG), False, False),
        (part10(implicit, IMPLICIT), True, True),
        (part10(implicit, EXPLICIT), True, True),  # written by a device that says otherwise
        (implicit, True, True),
        (SOP, False, True),
        (big, False, False),
    ):
        header = Reads(content).header()
        assert (header.implicit_vr, header.little_endian) == (implicit_vr, little_endian)


LIKE_A_VR = st.tuples(st.sampled_from(b"BDFHJLNPRTVXZ"), st.integers(ord("A"), ord("Z")), st.integers(0, 1)).map(
    lambda letters: letters[0] | letters[1] << 8 | letters[2] << 16
)
"""Even lengths of which the low 16 bits are two capital letters, some of them a VR's."""


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, EXPLICIT, ""])
@given(length=LIKE_A_VR | st.integers(0, 1 << 16), before=st.booleans(), nested=st.booleans())
def test_an_implicit_element_may_have_any_length_and_has_no_vr(
    transfer_syntax: str, length: int, before: bool, nested: bool
) -> None:
    sop, rows = implicit(0x00080018, b"1.2.3\0"), implicit(0x00280010, b"\x40\0")
    one = implicit(0x00091001, bytes(length))
    if nested:
        item = ITEM + UNDEFINED + one + implicit(0x00091002, b"ab") + ITEM_END
        one = struct.pack("<HH", 0x0009, 0x1003) + UNDEFINED + item + SEQUENCE_END
    names = [implicit(0x00100010, b"Doe ")] if before else []
    data_set = b"".join([sop, *names, one, rows])
    pixels = implicit(0x7FE00010, bytes(1000))
    reads = Reads(part10(data_set + pixels, transfer_syntax))
    header = read_header(reads, len(reads.content), {0x00091001, 0x00280010})
    assert (header.data_set, header.implicit_vr) == (data_set, True)
    assert header.elements[0x00280010].vr == ""
    if not nested:
        assert (header.elements[0x00091001].vr, header.elements[0x00091001].end) == ("", len(data_set) - len(rows))


@given(length=LIKE_A_VR)
def test_the_first_element_of_an_implicit_object_may_be_long_too(length: int) -> None:
    """Its VR would not be the dictionary's; where it is, the transfer syntax lies."""
    languages, rows = implicit(0x00080006, bytes(length)), implicit(0x00280010, b"\x40\0")
    header = Reads(part10(languages + rows, IMPLICIT)).header()
    assert (header.data_set, header.implicit_vr) == (languages + rows, True)
    for first in (SOP, element(0x00080000, b"UL", b"\0\0\0\0"), element(0x00080005, b"CS", b"")):
        header = Reads(part10(first + ROWS, IMPLICIT)).header()
        assert (header.data_set, header.implicit_vr) == (first + ROWS, False)


def test_an_element_without_a_vr_among_others_that_have_theirs_is_read() -> None:
    data_set = SOP + implicit(0x00091001, b"abcd") + ROWS
    header = Reads(part10(data_set)).header()
    assert (header.data_set, header.implicit_vr) == (data_set, False)


@pytest.mark.parametrize("content", [b"", b"x", b"PNG" * 100, bytes(200), b"\xff" * 300])
def test_what_is_not_dicom_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError, match="not DICOM"):
        Reads(content).header()


def test_sequences_that_nest_without_end_are_refused() -> None:
    deep = (struct.pack("<HH", 0x0008, 0x1140) + b"SQ\0\0" + UNDEFINED + ITEM + UNDEFINED) * 5000
    with pytest.raises(UnreadableError, match="nest deeper"):
        Reads(part10(deep)).header()


@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG, DEFLATED, "", "1.2.3"]))
def test_any_bytes_are_read_or_refused_and_nothing_else(data_set: bytes, transfer_syntax: str) -> None:
    for content in (data_set, part10(data_set, transfer_syntax)):
        with contextlib.suppress(UnreadableError):
            Reads(content).header()


def test_an_object_that_is_cut_short_is_told_where() -> None:
    with pytest.raises(UnreadableError, match=r"ends within \(0028,0010\), 1 bytes too early"):
        Reads(part10(SOP + ROWS)[:-1]).header()
