"""A large multi-frame object takes a fixed amount of memory. `./dev large` does the same with 2 GiB."""

from __future__ import annotations

from pathlib import Path

from local.aws import Aws
from tests.large.sending import MIB, send_large
from tests.support.receiver import EdgeProcess


def test_a_large_object_is_received_validated_and_uploaded_in_flat_memory(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        large = send_large(edge, 300 * MIB)
    assert large.peak_rss_bytes < 200 * MIB, str(large)
