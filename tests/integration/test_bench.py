"""The benchmarks in their short form: that each measures, keeps its results, and comes out in the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_quick_run_measures_each_and_reports_it(tmp_path: Path) -> None:
    names = ["receive", "receive-storescu", "upload", "index", "scale"]  # end_to_end needs a stack: tests/e2e/test_bench.py
    command = [sys.executable, "-m", "bench.all", "--quick", "--into", str(tmp_path), "--only", ",".join(names)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    kept = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "results").iterdir()}
    assert sorted(kept) == sorted(names)
    assert all(document["cells"] and not document["broken_off"] for (document,) in kept.values())
    report = (tmp_path / "benchmarks.md").read_text()
    assert "not reached" in report  # the aims have their lines, and no figure of so small a run reaches all of them
    for heading in ("Receiving", "Receiving from DCMTK's storescu", "Uploading", "Indexing", "How costs grow"):
        assert f"\n## {heading}" in report
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} == {"receive.svg", "receive-storescu.svg", "growth.svg"}
