"""kill -9 of the receiver under load: nothing acknowledged is lost. `./dev crash` runs more cycles of the same."""

from __future__ import annotations

from pathlib import Path

from local.aws import Aws
from tests.crash.harness import run_cycles
from tests.support.receiver import EdgeProcess


def test_what_was_acknowledged_survives_kill_9_of_the_receiver_under_load(aws: Aws, bucket: str, tmp_path: Path) -> None:
    figures = run_cycles(EdgeProcess.prepare(aws, bucket, tmp_path / "edge"), cycles=4)
    assert figures.good, str(figures)
    assert figures.acknowledged > 20
