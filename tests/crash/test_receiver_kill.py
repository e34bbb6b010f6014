"""kill -9 of the receiver under load: nothing acknowledged is lost. `./dev crash` runs more cycles of the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.aws import Aws
from tests.crash.harness import run_cycles
from tests.support.receiver import EdgeProcess


@pytest.mark.parametrize(("cycles", "workers"), [(3, 1), (4, 4)])
def test_what_was_acknowledged_survives_kill_9_of_the_receiver_under_load(
    aws: Aws, bucket: str, tmp_path: Path, cycles: int, workers: int
) -> None:
    figures = run_cycles(EdgeProcess.prepare(aws, bucket, tmp_path / "edge"), cycles, workers=workers)
    assert figures.good, str(figures)
    assert figures.acknowledged > 20
    assert figures.quarantined > 0
