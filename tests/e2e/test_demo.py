"""`./dev demo`: the first thing that anybody runs."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support.stack import commands


def test_the_demo_prints_an_image_set_for_each_series_and_leaves_nothing_behind() -> None:
    before = commands().keys()
    demo = subprocess.run([sys.executable, "-m", "local.demo"], capture_output=True, text=True, timeout=240, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.count("IMPORTED") == 7
    assert "The association is COMPLETE." in demo.stdout
    left = {pid: command for pid, command in commands().items() if pid not in before and "ahi-ingest-demo-" in command}
    time.sleep(0.5 if left else 0)  # those that were told to end while we looked
    assert left.items() & commands().items() == set()
