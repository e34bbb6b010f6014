"""Finds the Study and Series Instance UID in the bytes of a data set, by a bounded walk over its top-level elements.

The data set is untrusted and nothing is decoded: lengths are never believed beyond the data's end, sequences of undefined
length are passed by their nesting, and the walk ends after (0020,000E), or at one of its bounds. What cannot be found is
empty. A transfer syntax that the DICOM dictionary does not know is not walked: nobody can say how it is encoded.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import IO, Protocol

from pydicom._uid_dict import UID_dictionary

from contract.uids import uid_from_wire

WALKED_MAX_BYTES = 64 * 1024 * 1024
"""How far into a data set (inflated, when it is deflated) the walk goes; real ones have these UIDs in the first KiB."""

_STUDY, _SERIES = (0x0020, 0x000D), (0x0020, 0x000E)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_UID_MAX_BYTES = 4096
_DEPTH_MAX = 64

_LONG_FORM = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_IMPLICIT = frozenset(("1.2.840.10008.1.2",))  # PS3.5 A.1
_BIG_ENDIAN = frozenset(("1.2.840.10008.1.2.2",))  # PS3.5 A.3, retired
_DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))  # PS3.5 A.5, A.7, A.11
_KNOWN = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax") | frozenset(
    # Added to pydicom's dictionary by pynetdicom, but only once that is imported.
    ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.8.1")
)


class _UnreadableError(Exception):
    """The data set cannot be walked further."""


class _Source(Protocol):
    def read(self, count: int, /) -> bytes: ...

    def skip(self, count: int) -> None: ...


def study_and_series(data_set: IO[bytes], transfer_syntax_uid: str) -> tuple[str, str]:
    """(Study Instance UID, Series Instance UID) of a data set that `data_set` stands at the beginning of, empty if not found.

    The file's position afterwards is undefined. Raises OSError when it cannot be read.
    """
    if transfer_syntax_uid not in _KNOWN:
        return "", ""
    source: _Source = _Inflating(data_set) if transfer_syntax_uid in _DEFLATED else _Plain(data_set)
    walk = _Walk(source, implicit=transfer_syntax_uid in _IMPLICIT, big_endian=transfer_syntax_uid in _BIG_ENDIAN)
    with contextlib.suppress(_UnreadableError):  # what was found before the fault stands
        walk.run()
    return walk.found.get(_STUDY, ""), walk.found.get(_SERIES, "")


class _Walk:
    def __init__(self, source: _Source, *, implicit: bool, big_endian: bool) -> None:
        self._source, self._implicit = source, implicit
        self._tag, self._short, self._long = (struct.Struct((">" if big_endian else "<") + form) for form in ("HH", "H", "I"))
        self.found: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """Walk to (0020,000E). Raises _UnreadableError when the data set ends or makes no sense before."""
        while True:
            tag = self._read_tag()
            if tag > _SERIES:
                return
            length, vr = self._read_length(implicit=self._implicit)
            if length == _UNDEFINED:
                self._skip_nested(implicit=self._implicit or vr == b"UN")  # PS3.5 6.2.2, note 4
            elif tag in (_STUDY, _SERIES):
                if length > _UID_MAX_BYTES:
                    raise _UnreadableError
                self.found[tag] = uid_from_wire(self._read(length))
            else:
                self._source.skip(length)

    def _skip_nested(self, *, implicit: bool) -> None:
        """Pass a sequence of undefined length, whose header was read (PS3.5 7.5)."""
        nesting = [(False, implicit)]  # (whether within an item, whether implicit VR)
        while nesting:
            within_item, implicit = nesting[-1]
            tag = self._read_tag()
            if tag in (_ITEM_END, _SEQUENCE_END):
                self._source.skip(4)
                if within_item is not (tag == _ITEM_END):
                    raise _UnreadableError
                nesting.pop()
            elif tag == _ITEM:
                (length,) = self._long.unpack(self._read(4))
                if within_item:
                    raise _UnreadableError
                if length != _UNDEFINED:
                    self._source.skip(length)
                else:
                    nesting.append((True, implicit))
            else:
                if not within_item:
                    raise _UnreadableError
                length, vr = self._read_length(implicit=implicit)
                if length != _UNDEFINED:
                    self._source.skip(length)
                else:
                    nesting.append((False, implicit or vr == b"UN"))
            if len(nesting) > _DEPTH_MAX:
                raise _UnreadableError

    def _read_tag(self) -> tuple[int, int]:
        group, element = self._tag.unpack(self._read(4))
        return group, element

    def _read_length(self, *, implicit: bool) -> tuple[int, bytes]:
        """(length, VR) of an element. Raises _UnreadableError for what is no VR; private ones need only look like one."""
        if implicit:
            return self._long.unpack(self._read(4))[0], b""
        raw = self._read(4)
        vr = raw[:2]
        if not (vr.isalpha() and vr.isupper()):
            raise _UnreadableError
        if vr in _LONG_FORM:
            return self._long.unpack(self._read(4))[0], vr
        return self._short.unpack(raw[2:])[0], vr

    def _read(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) != count:
            raise _UnreadableError
        return data


class _Plain:
    """The bytes as they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._begin = file.tell()
        self._end = file.seek(0, 2)
        file.seek(self._begin)
        self._at, self._ahead, self._ahead_at = self._begin, b"", self._begin

    def read(self, count: int, /) -> bytes:
        offset = self._at - self._ahead_at
        if offset + count > len(self._ahead):
            if self._at - self._begin > WALKED_MAX_BYTES:
                raise _UnreadableError
            self._file.seek(self._at)
            self._ahead, self._ahead_at, offset = self._file.read(max(count, 4096)), self._at, 0
        self._at += count
        return self._ahead[offset : offset + count]

    def skip(self, count: int) -> None:
        self._at += count
        if self._at > self._end or self._at - self._begin > WALKED_MAX_BYTES:
            raise _UnreadableError


class _Inflating:
    """The bytes inflated (PS3.5 A.5), in chunks: a small file that inflates to much costs no more than the bound."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._inflate = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._ahead, self._walked = b"", 0

    def read(self, count: int, /) -> bytes:
        while len(self._ahead) < count and self._fill():
            pass
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        return data

    def skip(self, count: int) -> None:
        while count > len(self._ahead):
            count -= len(self._ahead)
            self._ahead = b""
            if not self._fill():
                raise _UnreadableError
        self._ahead = self._ahead[count:]

    def _fill(self) -> bool:
        if self._walked > WALKED_MAX_BYTES:
            raise _UnreadableError
        packed = self._inflate.unconsumed_tail or self._file.read(4096)
        if not packed or self._inflate.eof:
            return False
        try:
            more = self._inflate.decompress(packed, 65536)
        except zlib.error:
            raise _UnreadableError from None
        self._walked += max(len(more), 1)
        self._ahead += more
        return True
