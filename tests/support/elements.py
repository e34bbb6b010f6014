"""Data elements byte by byte (PS3.5 7), in little endian, for objects that no library would write."""

from __future__ import annotations

import struct

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff\xff\xff\xff"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"SQ", b"UN", b"OB", b"UT"):
        return head + b"\0\0" + struct.pack("<L", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    """An element without a VR."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def undefined(tag: int, vr: bytes, content: bytes) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr + b"\0\0" + UNDEFINED + content + SEQUENCE_END


def part10(data_set: bytes, transfer_syntax: str = EXPLICIT) -> bytes:
    value = transfer_syntax.encode()
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", value + b"\0" * (len(value) % 2)) + data_set
