"""A receiver holds after many associations what it held after few. `./dev soak` does more of the same."""

from __future__ import annotations

from pathlib import Path

from local.aws import Aws
from tests.soak.harness import soak
from tests.support.receiver import EdgeProcess


def test_memory_threads_and_files_do_not_grow_with_the_associations(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge") as edge:
        figures = soak(edge, warm_up=400, associations=200, seconds=60)
    assert figures.good, str(figures)
    assert figures.objects > 100
