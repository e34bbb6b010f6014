"""What the report says of results that are known."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bench import costs
from bench.report.__main__ import sections
from bench.report.aims import Aim
from bench.report.measurement import Measurement, compared, read
from bench.results import Results
from bench.servers import OURS, SINK, TUNED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture(autouse=True)
def _results_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))


def keep(name: str, cells: Mapping[tuple[str, str, int], list[dict[str, float]]], **conditions: Any) -> None:
    with Results(name, **conditions) as kept:
        for cell, rounds in cells.items():
            for figures in rounds:
                kept.add(*cell, figures)


def receiving(ours: list[float], theirs: list[float]) -> None:
    keep(
        "receive",
        {
            (server, "ct", associations): [{"objects_per_s": speed, "cpu_ms_per_object": 1, "peak_mib": 80} for speed in speeds]
            for server, speeds in ((OURS, ours), (TUNED, theirs))
            for associations in (1, 16)
        },
    )


def lines(text: str) -> dict[str, str]:
    """The rows of all tables, by their first column, up to the last that is not empty."""
    return dict(re.findall(r"^\| ([^|]+) \| (.*?) \|[ |]*$", text, re.MULTILINE))


def report(plots: Path) -> str:
    return "\n".join(sections({"receive": read("receive")}, plots))


def test_indexing_is_judged_in_the_smallest_catalog_from_each_server_that_stood_for_s3(tmp_path: Path) -> None:
    def figures(speed: float, fetched: float) -> list[dict[str, float]]:
        return [{"objects_a_second": speed, "bytes_an_object": fetched, "cpu_ms_an_object": 1, "statements_an_object": 1}]

    keep(
        "index",
        {
            (who, kind, rows): figures(speed * times, fetched)
            for who, times, fetched in (
                ("ahi-ingest", 1, 100),
                ("the reference's way", 0.125, 2500),
                ("headers read, and no more", 1.5, 200),
            )
            for kind, rows, speed in (
                ("ct", 1000, 80),
                ("ct", 9000, 40),
                ("tiny", 1000, 80),
                ("ct from memory after 20 ms", 1000, 800),
            )
        },
    )
    (kept,) = read("index")
    rows = lines("\n".join(sections({"index": [kept]}, tmp_path)))
    assert rows["Indexing CT, ratio to the reference's way: fewer bytes"] == "at least 20 | **25** (25 to 25) | reached"
    missed = "at least 10 | **8** (8 to 8) | **not reached** | **12** (12 to 12)"
    assert rows["objects a second"] == rows["objects a second from memory after 20 ms"] == missed
    assert rows["ct"].startswith("9,000 | 40 | 5 | 60 | **8** (8 to 8) | 1 | 1 | 100 | 2,500 | 25 |")


def test_a_ratio_is_of_rounds_and_an_aim_is_reached_by_its_median(tmp_path: Path) -> None:
    receiving([130, 65, 26], [100, 50, 20])
    rows = lines(report(tmp_path))
    assert rows["at 16 associations, geometric mean"] == "at least 1.2 | **1.3** (1.3 to 1.3) | reached"
    assert rows["the lowest cell"].startswith("at least 0.9 | **1.3** (1.3 to 1.3), ct x1 | reached")
    assert rows["ratio to Orthanc, geometric mean"] == "at least 8 | - | not measured"


def test_beside_an_aim_stands_what_copying_alone_reaches(tmp_path: Path) -> None:
    keep(
        "receive",
        {
            (server, "ct", associations): [{"objects_per_s": speed}]
            for associations, speeds in ((1, (90, 100, 110)), (16, (90, 100, 130)))
            for server, speed in zip((OURS, TUNED, SINK), speeds, strict=True)
        },
    )
    rows = lines(report(tmp_path))
    assert rows["at 16 associations, geometric mean"].endswith("**not reached** | **1.3** (1.3 to 1.3)")
    assert rows["the lowest cell"].endswith("ct x1 | reached | **1.1** (1.1 to 1.1)")
    assert rows["ratio to Orthanc, geometric mean"] == "at least 8 | - | not measured"


def test_an_aim_that_is_missed_by_little_is_not_reached() -> None:
    at_least = Aim(what="", limit=0.9, measured=0.899, said="")
    assert at_least.verdict == "**not reached**"
    assert Aim(what="", limit=3, measured=2.9, said="", at_most=True).verdict == "reached"
    assert Aim(what="", limit=3, measured=3.1, said="", at_most=True).verdict == "**not reached**"


def test_a_figure_that_gets_worse_is_shown_beside_the_one_before(tmp_path: Path) -> None:
    receiving([200] * 7, [100] * 7)
    receiving([150] * 7, [100] * 7)
    assert "CT x1 200 to 150 (0.75, **worse**)" in report(tmp_path)
    receiving([199] * 7, [100] * 7)
    assert "CT x1 150 to 199 (1.33)" in report(tmp_path)
    assert [one.figures(OURS, ("ct", 1))[0] for one in read("receive")] == [199, 150, 200]


def test_a_cost_that_grows_is_worse() -> None:
    now, before, elsewhere = (
        Measurement(
            {
                "measured_at": "2026-11-24T12:00:00+00:00",
                "machine": {"commit": "1234567", "cpu": cpu},
                "conditions": {"rounds": 1},
                "command": "./dev bench scale",
                "cells": {"ahi-ingest | 10 objects | 1": {"peak_mib": [peak]}},
            }
        )
        for peak, cpu in ((90.0, "this"), (80.0, "this"), (80.0, "other"))
    )

    def peaks(one: Measurement, cell: tuple[str, int]) -> list[float]:
        return one.figures("ahi-ingest", cell, "peak_mib")

    here = compared([now, before], "MiB", peaks, more_is_better=False)
    assert "80 to 90 (1.12, **worse**)" in here
    assert "another machine" not in here
    assert "on another machine (other)" in compared([now, elsewhere], "MiB", peaks, more_is_better=False)


def test_what_an_error_broke_off_is_kept_and_says_so(tmp_path: Path) -> None:
    kept = Results("receive")
    kept.add(OURS, "ct", 1, {"objects_per_s": 5})
    with pytest.raises(RuntimeError, match="a peer"), kept:
        raise RuntimeError("a peer went away")
    assert "**An error broke it off**" in report(tmp_path)


def test_only_the_last_five_measurements_are_kept(tmp_path: Path) -> None:
    for speed in range(1, 8):
        receiving([speed], [1])
    speeds = [one.figures(OURS, ("ct", 1))[0] for one in read("receive")]
    assert speeds == [7, 6, 5, 4, 3]
    assert len(json.loads((tmp_path / "results" / "receive.json").read_text())) == 5


def test_costs_of_a_million_objects_are_counts_times_prices() -> None:
    counted = {
        "objects": 100,
        "transitions": 20,
        "invocations": 10,
        "gb_s": 3,
        "index_gb_s": 2,
        "s3_puts": 103,
        "s3_gets": 100,
        "sqs_calls": 1,
        "secrets": 0,
    }
    usd = costs.ours(counted, 0.01)
    assert usd["Step Functions"] == pytest.approx(5.0)  # 200,000 transitions
    assert usd["S3"] == pytest.approx(1.03 * 5 + 0.4)
    assert usd["Lambda"] == pytest.approx(0.1 * 0.20 + (1 + 1) * 1e4 * 0.0000133334)
    assert usd["SQS"] == pytest.approx(0.03 * 0.40)
    its = costs.reference(100, 0.01)
    assert its["SQS"] == pytest.approx((1 + 0.2 + 0.03) * 0.40)
    assert its["Lambda"] == pytest.approx(0.04 * 0.20 + 0.04e6 * 0.0000166667)
