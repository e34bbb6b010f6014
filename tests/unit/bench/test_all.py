"""All benchmarks in one go, with parts that are known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench import all as bench_all
from bench.all import Part
from bench.results import Results

if TYPE_CHECKING:
    from pathlib import Path


def test_a_part_that_fails_is_named_at_the_end_and_the_rest_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = Part(name="broken", module="no_such_module", minutes=2, quick=())
    monkeypatch.setattr(bench_all, "_PARTS", (broken, Part(name="well", module="programs", minutes=3, quick=())))
    monkeypatch.setattr(sys, "argv", ["all", "--into", str(tmp_path)])
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    with Results("receive") as kept:
        kept.add("ahi-ingest, none", "ct", 1, {"objects_per_s": 1})
    with pytest.raises(SystemExit, match="These failed: broken"):
        bench_all.main()
    said = capfd.readouterr().err
    assert "2 benchmarks, about 5 minutes" in said
    assert "well: ended well" in said
    assert (tmp_path / "benchmarks.md").exists()


def test_a_quick_run_needs_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["all", "--quick"])
    with pytest.raises(SystemExit):
        bench_all.main()
    assert "--quick needs --into DIR" in capsys.readouterr().err
