"""Plots, as SVG beside docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

from bench.report.measurement import Measurement, title

_LOOKS = {
    "style": CleanStyle(font_family="sans-serif", title_font_size=14, label_font_size=11, legend_font_size=11),
    "js": (),
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 3,
    "width": 960,
    "height": 420,
}


def ratios(measurement: Measurement, ours: str, peers: Sequence[str], path: Path) -> None:
    """The ratios to each peer, logarithmic."""
    chart = pygal.Bar(title=f"{ours}: objects a second, as a ratio to each peer (logarithmic)", logarithmic=True, **_LOOKS)
    chart.x_labels = [title(cell) for cell in measurement.cells]
    for peer in peers:
        one = [measurement.ratio(ours, peer, cell) for cell in measurement.cells]
        chart.add(peer, [ratio.median if ratio else None for ratio in one])
    _save(chart, path)


def growth(heading: str, lines: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """(size, cost) pairs by cost, both axes logarithmic, each cost relative to that of its smallest size."""
    chart = pygal.XY(title=heading, logarithmic=True, xrange=None, **_LOOKS)
    for name, pairs in lines.items():
        first = pairs[0][1]
        chart.add(name, [(size, cost / first) for size, cost in pairs])
    _save(chart, path)


def _save(chart: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chart.render())
