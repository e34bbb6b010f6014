"""The objects that are measured: three kinds, made of random pixels, alike for every sender and server.

A kind's objects differ in their SOP Instance UIDs alone, and these are equally long, so the pixels of all are one buffer.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from receiver.part10 import head_bytes

_STUDY = "1.2.826.0.1.3680043.10.1561.1"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Objects of one size. `pixel_bytes` is that of the Pixel Data of each."""

    name: str
    sop_class: str
    pixel_bytes: int
    objects: int
    """How many are sent in a run, over all its associations; a `large` run sends one an association."""
    frames: int = 1

    def count(self, associations: int) -> int:
        return max(self.objects, associations)


CT = Kind(name="ct", sop_class=CTImageStorage, pixel_bytes=512 * 1024, objects=300)
TINY = Kind(name="tiny", sop_class=CTImageStorage, pixel_bytes=22 * 1024, objects=1000)
LARGE = Kind(name="large", sop_class=EnhancedCTImageStorage, pixel_bytes=500 * 1024 * 1024, objects=1, frames=1000)
KINDS = {kind.name: kind for kind in (CT, TINY, LARGE)}


def kind_of(text: str) -> Kind:
    """A kind by name, with another number of objects behind a colon: `ct`, `ct:1000`. Raises KeyError."""
    name, _, objects = text.partition(":")
    return replace(KINDS[name], objects=int(objects)) if objects else KINDS[name]


def sop_instance(run: int, number: int) -> str:
    return f"1.2.826.0.1.3680043.10.1561.2.{10_000 + run % 90_000}.{1_000_000 + number}"


def head(kind: Kind, uid: str) -> bytes:
    """A data set up to its Pixel Data's value, Explicit VR Little Endian; equally long for every `uid` of `sop_instance`."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    def short(group: int, number: int, value: int) -> bytes:
        return element(group, number, b"US", struct.pack("<H", value))

    frame_pixels = kind.pixel_bytes // 2 // kind.frames
    rows = next(count for count in range(int(frame_pixels**0.5), 0, -1) if frame_pixels % count == 0)
    return b"".join(
        (
            element(0x0008, 0x0016, b"UI", kind.sop_class.encode()),
            element(0x0008, 0x0018, b"UI", uid.encode()),
            element(0x0008, 0x0020, b"DA", b"20261124"),
            element(0x0008, 0x0060, b"CS", b"CT"),
            element(0x0010, 0x0010, b"PN", b"BENCH^MARK"),
            element(0x0010, 0x0020, b"LO", b"BENCH"),
            element(0x0020, 0x000D, b"UI", _STUDY.encode()),
            element(0x0020, 0x000E, b"UI", f"{_STUDY}.1".encode()),
            element(0x0020, 0x0013, b"IS", uid[-6:].encode()),
            short(0x0028, 0x0002, 1),
            element(0x0028, 0x0004, b"CS", b"MONOCHROME2"),
            element(0x0028, 0x0008, b"IS", str(kind.frames).encode()),
            short(0x0028, 0x0010, rows),
            short(0x0028, 0x0011, frame_pixels // rows),
            short(0x0028, 0x0100, 16),
            short(0x0028, 0x0101, 16),
            short(0x0028, 0x0102, 15),
            short(0x0028, 0x0103, 0),
            struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, kind.pixel_bytes),
        )
    )


def pixels(kind: Kind) -> bytes:
    return random.Random(kind.name).randbytes(min(kind.pixel_bytes, 2**20)) * max(1, kind.pixel_bytes // 2**20)


def write_files(kind: Kind, folder: Path, *, run: int, shares: int) -> list[Path]:
    """The objects of a run as Part 10 files, in a folder for each of `shares` senders."""
    body, folders = pixels(kind), [folder / f"{number:02d}" for number in range(shares)]
    for one in folders:
        one.mkdir(parents=True)
    for number in range(kind.count(shares)):
        uid = sop_instance(run, number)
        meta = head_bytes(
            sop_class=kind.sop_class.encode(),
            sop_instance=uid.encode(),
            transfer_syntax=ExplicitVRLittleEndian.encode(),
            source_ae=b"BENCH",
        )
        with (folders[number % shares] / f"{number}.dcm").open("wb") as file:
            file.writelines((meta, head(kind, uid), body))
    return folders
