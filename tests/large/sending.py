"""One multi-frame object of any size through a receiver process, and the most memory that the process needed for it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from receiver.dicom import pdu
from tests.support.processes import receiver_pid, worker_pids
from tests.support.receiver import EdgeProcess, RawPeer, small_data_set

SOP_CLASS = b"1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
JPEG = b"1.2.840.10008.1.2.4.50"
MIB = 2**20

_PDV_BYTES = 131_000
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_PIXEL_DATA = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"


@dataclass(frozen=True)
class Large:
    """How it went. Sizes are in bytes; `peak_rss_bytes` is the largest of the receiver's processes, since their start."""

    size_bytes: int
    peak_rss_bytes: int

    def __str__(self) -> str:
        return (
            f"an object of {self.size_bytes / MIB:.0f} MiB: received, validated, uploaded and announced, "
            f"peak RSS of a process {self.peak_rss_bytes / MIB:.0f} MiB"
        )


def send_large(edge: EdgeProcess, size_bytes: int) -> Large:
    """Send an object of about so many bytes, in frames of 1 MiB, and see that it arrives in S3 as it was sent."""
    peer = RawPeer(edge.port, {1: (SOP_CLASS, (JPEG,))})
    peer.sock.settimeout(600)
    digest, sent, pending = hashlib.sha256(), 0, bytearray()

    def send(data: bytes) -> None:
        nonlocal sent
        digest.update(data)
        pending.extend(data)
        sent += len(data)
        while len(pending) >= _PDV_BYTES:
            peer.sock.sendall(pdu.p_data_header(_PDV_BYTES, 1, 0) + pending[:_PDV_BYTES])
            del pending[:_PDV_BYTES]

    peer.sock.sendall(pdu.store_request(1, SOP_CLASS, b"1.9", 1))
    send(small_data_set() + _PIXEL_DATA + _ITEM + bytes(4))  # an empty offset table
    for number in range(size_bytes // MIB):
        send(_ITEM + struct.pack("<I", MIB) + number.to_bytes(4, "big") * (MIB // 4))
    send(_END)
    peer.sock.sendall(pdu.p_data_header(len(pending), 1, pdu.LAST) + pending)
    assert peer.status() == 0
    peer.release()
    (announced,) = edge.announced(1, within_seconds=600)
    (entry,) = announced.entries
    assert (entry.digest, announced.manifest.quarantined) == (digest.hexdigest(), ())
    assert edge.aws.s3.head_object(Bucket=edge.bucket, Key=entry.key)["ContentLength"] == entry.size_bytes > sent
    pids = worker_pids(edge) | {receiver_pid(edge)}
    edge.aws.s3.delete_object(Bucket=edge.bucket, Key=entry.key)  # the emulator keeps it in memory
    return Large(sent, max(map(peak_rss_bytes, pids)))


def peak_rss_bytes(pid: int) -> int:
    """The most memory that the process has had since its start (VmHWM)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - one line of a small file
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
