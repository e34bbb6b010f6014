"""`./dev demo`: the first thing that anybody runs."""

from __future__ import annotations

import subprocess
import sys
import time

from lambdas.logic.claiming import SERVICE_FAULT_RETRIES
from tests.support.stack import commands


def run_demo(*options: str) -> str:
    """What a demo that must succeed prints; nothing that it started may be left."""
    before = commands().keys()
    command = [sys.executable, "-m", "local.demo", *options]
    demo = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    left = {pid: command for pid, command in commands().items() if pid not in before and "ahi-ingest-demo-" in command}
    time.sleep(0.5 if left else 0)  # those that were told to end while we looked
    assert left.items() & commands().items() == set()
    return demo.stdout


def test_the_demo_prints_an_image_set_for_each_series_and_leaves_nothing_behind() -> None:
    said = run_demo()
    assert said.count("IMPORTED") == 7
    assert "The association is COMPLETE." in said


def test_the_demo_of_faults_tells_each_as_it_happens_and_ends_with_everything_imported() -> None:
    said = run_demo("--faults")
    told = (
        *("import execution FAILED: Import.JobFailed", "FAILED_JOB is FAILED."),
        *("ThrottlingException from startDICOMImportJob", "THROTTLED is COMPLETE.", "SERVER_ERROR is INCOMPLETE."),
        *("$ ahi-ingest replay", "redriven", "All 7 objects of 3 associations have an image set."),
    )
    places = [said.find(text) for text in told]
    assert -1 not in places, said
    assert places == sorted(places)
    assert said.count("1 object(s) failed by the service's fault: again soon") == SERVICE_FAULT_RETRIES
    assert said.count("IMPORTED") == 7
