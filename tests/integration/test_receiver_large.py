"""A large multi-frame object takes a fixed amount of memory. `./dev large` does the same with 2 GiB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.aws import Aws
from tests.large.sending import MIB, peak_rss_bytes, send_large
from tests.support.processes import receiver_pid
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, large_data_set


def test_a_large_object_is_received_validated_and_uploaded_in_flat_memory(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        large = send_large(edge, 300 * MIB)
    assert large.peak_rss_bytes < 200 * MIB, str(large)


def test_many_objects_of_any_size_are_uploaded_at_once_in_flat_memory(aws: Aws, bucket: str, tmp_path: Path) -> None:
    sizes_mib = (40, 40, 40, 40, 8, 8, 8, 8)  # in parts, and in one go
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", upload_workers=8) as edge:

        def send(number: int) -> None:
            peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,))})
            peer.sock.settimeout(60)
            assert peer.store(b"1.%d" % number, large_data_set(sizes_mib[number] * MIB - 2048)) == 0
            peer.release()

        with ThreadPoolExecutor(len(sizes_mib)) as senders:
            list(senders.map(send, range(len(sizes_mib))))
        edge.announced(len(sizes_mib), within_seconds=120)
        peak = peak_rss_bytes(receiver_pid(edge))
    assert peak < 150 * MIB, f"{peak / MIB:.0f} MiB"
