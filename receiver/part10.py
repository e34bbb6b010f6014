"""The head of a DICOM file: preamble, prefix and file meta information (PS3.10 7.1), written and read.

The receiver writes a head of its own before the data set's bytes, which it keeps as they were on the wire. UIDs are the
raw values, whatever they hold: the padding of PS3.5 9.1 is stripped and put back, nothing else is touched.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import IO

from contract.uids import uid_from_wire

IMPLEMENTATION_CLASS_UID = "2.25.191807903961148726698805163631640789750"
IMPLEMENTATION_VERSION_NAME = "AHI_INGEST_1"

PREFIX = b"\0" * 128 + b"DICM"
HEAD_MAX_BYTES = 1024 * 1024  # far above what any file has; private information (0002,0102) is the only large element

_FIRST_READ_BYTES = 4096
_LONG_FORM = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")  # PS3.5 7.1.2


class Part10Error(ValueError):
    """A file without a readable head. The text says what is missing, and never quotes a value."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the file meta information says; the data set begins at `data_set_offset` of the file."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int


def head_bytes(*, sop_class: bytes, sop_instance: bytes, transfer_syntax: bytes, source_ae: bytes) -> bytes:
    """Preamble, prefix and file meta information; the arguments are values as on the wire, unpadded or padded."""
    before, after = _around_instance(sop_class, transfer_syntax, source_ae)
    instance = _element(0x0003, b"UI", sop_instance)
    length = len(before) + len(instance) + len(after)
    return b"".join((PREFIX, struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, length), before, instance, after))


@functools.lru_cache(maxsize=256)
def _around_instance(sop_class: bytes, transfer_syntax: bytes, source_ae: bytes) -> tuple[bytes, bytes]:
    """The elements before and after MediaStorageSOPInstanceUID (0002,0003): an association's objects share them."""
    before = struct.pack("<HH2s2xI", 0x0002, 0x0001, b"OB", 2) + b"\0\1" + _element(0x0002, b"UI", sop_class)
    after = (
        _element(0x0010, b"UI", transfer_syntax)
        + _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode())
        + _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode())
        + _element(0x0016, b"AE", source_ae)
    )
    return before, after


def read_head(file: IO[bytes]) -> Head:
    """The head of a file that is open at its beginning; the file's position afterwards is undefined.

    Raises Part10Error when it has no prefix, or file meta information that cannot be read.
    """
    raw = file.read(_FIRST_READ_BYTES)
    if raw[128:132] != b"DICM":
        raise Part10Error("no DICM prefix after 128 bytes: not a DICOM file, or a data set without file meta information")
    try:
        return _parse(raw, whole_file=len(raw) < _FIRST_READ_BYTES)
    except struct.error:
        raw += file.read(HEAD_MAX_BYTES)
    try:
        return _parse(raw, whole_file=True)
    except struct.error:
        raise Part10Error("the file ends within the file meta information") from None


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value = value.rstrip(b"\0 ")
    value += b"" if len(value) % 2 == 0 else b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _parse(raw: bytes, *, whole_file: bool) -> Head:
    """Walk group 0002, always explicit VR little endian. Raises struct.error when `raw` ends within it.

    The data set may begin with any bytes, also with such as look like group 0002: where an element ends at the group's
    declared length, the group ends. A declared length that no element meets is a writer's fault and is passed over.
    """
    at, declared_end, values = len(PREFIX), -1, dict.fromkeys((0x0000, 0x0002, 0x0003, 0x0010), b"")
    while at != declared_end and not (whole_file and at == len(raw)):
        group, number = struct.unpack_from("<HH", raw, at)
        if group != 0x0002:
            break
        if raw[at + 4 : at + 6] in _LONG_FORM:
            (length,), start = struct.unpack_from("<I", raw, at + 8), at + 12
        else:
            (length,), start = struct.unpack_from("<H", raw, at + 6), at + 8
        at = start + length
        if at > len(raw):
            raise struct.error
        if number in values:
            values[number] = raw[start:at]
        if number == 0x0000 and length == 4:
            declared_end = at + int.from_bytes(values[number], "little")
    if not values[0x0010].rstrip(b"\0 "):
        raise Part10Error("no TransferSyntaxUID (0002,0010) in the file meta information")
    return Head(
        sop_class_uid=uid_from_wire(values[0x0002]),
        sop_instance_uid=uid_from_wire(values[0x0003]),
        transfer_syntax_uid=uid_from_wire(values[0x0010]),
        data_set_offset=at,
    )
