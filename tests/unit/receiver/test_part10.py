"""The head of a file is read as it was written, whatever the UIDs hold and whatever the data set begins with."""

from __future__ import annotations

import io
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.uids import uid_from_wire
from receiver.part10 import PREFIX, Part10Error, head_bytes, read_head

UIDS = st.binary(max_size=400)


@given(UIDS, UIDS, UIDS.filter(lambda uid: uid.rstrip(b"\0 ")), st.binary(max_size=16), st.binary(max_size=40))
def test_a_head_is_read_as_it_was_written(
    sop_class: bytes, sop_instance: bytes, syntax: bytes, source_ae: bytes, data_set: bytes
) -> None:
    head = head_bytes(sop_class=sop_class, sop_instance=sop_instance, transfer_syntax=syntax, source_ae=source_ae)
    read = read_head(io.BytesIO(head + data_set))
    assert read.data_set_offset == len(head)
    assert (read.sop_class_uid, read.sop_instance_uid) == (uid_from_wire(sop_class), uid_from_wire(sop_instance))
    assert read.transfer_syntax_uid == uid_from_wire(syntax)


def test_a_data_set_that_looks_like_more_file_meta_is_not_taken_for_it() -> None:
    head = head_bytes(sop_class=b"1.2", sop_instance=b"1.3", transfer_syntax=b"1.4", source_ae=b"A")
    fake = struct.pack("<HH2sH", 2, 0x10, b"UI", 4) + b"9.9\0"
    read = read_head(io.BytesIO(head + fake))
    assert (read.transfer_syntax_uid, read.data_set_offset) == ("1.4", len(head))


def test_pydicom_reads_the_head() -> None:
    head = head_bytes(sop_class=b"1.2", sop_instance=b"1.3", transfer_syntax=b"1.2.840.10008.1.2.1", source_ae=b"MODALITY ")
    meta = pydicom.dcmread(io.BytesIO(head)).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == ("1.2", "1.3")
    assert meta.SourceApplicationEntityTitle == "MODALITY"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no DICM prefix"),
        (b"x" * 4000, "no DICM prefix"),
        (PREFIX, "no TransferSyntaxUID"),
        (PREFIX + struct.pack("<HH2sH", 2, 2, b"UI", 500) + b"1.2", "ends within"),
        (PREFIX + struct.pack("<HH2sHI", 2, 0x102, b"OB", 0, 0xFFFFFFF0), "ends within"),
    ],
)
def test_a_file_without_a_readable_head_says_what_is_missing(content: bytes, said: str) -> None:
    with pytest.raises(Part10Error, match=said):
        read_head(io.BytesIO(content))


def test_a_head_longer_than_the_first_read_is_read() -> None:
    private = struct.pack("<HH2sHI", 2, 0x102, b"OB", 0, 100_000) + bytes(100_000)
    syntax = struct.pack("<HH2sH", 2, 0x10, b"UI", 4) + b"1.4\0"
    content = PREFIX + syntax + private
    assert read_head(io.BytesIO(content + b"\x08\0\x05\0")).data_set_offset == len(content)
