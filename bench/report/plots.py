"""Plots, as SVG beside docs/benchmarks.md."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

from bench.report.measurement import Measurement, title

# pygal leaves a finder for its plugins behind, of a kind that Python warns of at every import that follows.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

_LOOKS = {
    "style": CleanStyle(font_family="sans-serif", title_font_size=14, label_font_size=11, legend_font_size=11),
    "js": (),
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 3,
    "width": 960,
    "height": 420,
}


def ratios(measurement: Measurement, ours: str, peers: Sequence[str], path: Path) -> None:
    """The ratios to each peer, logarithmic: bars upwards are ahead of it, bars downwards behind."""
    chart = pygal.Bar(title=f"{ours}: objects a second, as a ratio to each peer (logarithmic)", logarithmic=True, **_LOOKS)
    chart.x_labels = [title(cell) for cell in measurement.cells]
    shown: list[float] = [1.0]
    for peer in peers:
        one = [measurement.ratio(ours, peer, cell) for cell in measurement.cells]
        shown += [ratio.median for ratio in one if ratio]
        chart.add(peer, [ratio.median if ratio else None for ratio in one])
    if len(shown) > 1:
        low, high = min(shown) / 1.2, max(shown) * 1.2
        chart.range, chart.zero, chart.y_labels = (low, high), 1, _marks(low, high, (1, 2, 5))
    _save(chart, path)


def growth(heading: str, lines: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """(size, cost) pairs by cost, both axes logarithmic, each cost relative to that of its smallest size."""
    chart = pygal.XY(title=heading, logarithmic=True, xrange=None, **_LOOKS)
    for name, pairs in lines.items():
        first = pairs[0][1]
        chart.add(name, [(size, cost / first) for size, cost in pairs])
    sizes = [size for pairs in lines.values() for size, _ in pairs] or [1.0]
    costs = [cost / pairs[0][1] for pairs in lines.values() for _, cost in pairs] or [1.0]
    chart.x_labels, chart.y_labels = _marks(min(sizes), max(sizes), (1,)), _marks(min(costs), max(costs), (1, 2, 5))
    chart.x_value_formatter = "{:,.0f}".format
    _save(chart, path)


def _marks(low: float, high: float, steps: Sequence[int]) -> list[float]:
    """Round figures from low to high, for a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [mark for power in powers for step in steps if low <= (mark := step * 10.0**power) <= high]


def _save(chart: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chart.render())
