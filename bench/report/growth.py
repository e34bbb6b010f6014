"""The section on how costs grow with the objects of one association."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.end_to_end import COUNTED, OURS
from bench.report import plots
from bench.report.measurement import SPEED, Measurement, compared, conditions, number, table
from bench.report.pipeline import SECONDS, WORK
from bench.scale import SERVER, exponent

FITTED_MIN_OBJECTS = 100
_FIGURES = {
    SPEED: "objects/s received",
    "announced_seconds": "s until announced",
    "cpu_seconds": "CPU s",
    "peak_mib": "peak MiB",
}
_COSTS = {
    "announced_seconds": "receiver: time until announced",
    "cpu_seconds": "receiver: CPU time",
    "peak_mib": "receiver: peak memory",
}


def pairs(measurement: Measurement, server: str, name: str) -> list[tuple[float, float]]:
    """(objects, cost) of one association, from few to many objects."""
    found = [
        (statistics.median(measurement.figures(server, cell, "objects")), statistics.median(figures))
        for cell in measurement.cells_of(server)
        if cell[1] == 1 and (figures := measurement.figures(server, cell, name))
    ]
    return sorted(dict(found).items())


def section(scale: Sequence[Measurement], end_to_end: Measurement | None, plot: Path) -> str:
    newest = scale[0]
    cells = newest.cells_of(SERVER)
    rows = [[cell[0], *(number(newest.median(SERVER, cell, name)) for name in _FIGURES)] for cell in cells]
    grown = {what: pairs(newest, SERVER, name) for name, what in _COSTS.items()}
    if end_to_end:
        grown["pipeline: time to the image sets"] = pairs(end_to_end, OURS, SECONDS)
        grown |= {f"pipeline: {what}": pairs(end_to_end, COUNTED, name) for name, what in WORK.items()}
    fitted = {what: found for what, costs in grown.items() if len(found := _fitted(costs)) > 1}
    plots.growth("Cost of one association, relative to the smallest fitted (logarithmic)", fitted, plot)
    return "\n".join(
        [
            "## How costs grow with the objects of one association\n",
            conditions(newest),
            table(["one association of", *_FIGURES.values()], rows),
            f"![Growth](benchmarks/{plot.name})\n",
            f"Fitted from {FITTED_MIN_OBJECTS} objects on, as a power of their number (0 does not grow, 1 grows as they do):\n",
            _exponents(fitted),
            "How indexing grows with the catalog stands [with indexing](#indexing-headers-into-the-catalog).\n",
            compared(scale, "Objects a second", lambda one, cell: one.figures(SERVER, cell), name=lambda cell: cell[0]),
            compared(
                scale,
                "Peak MiB",
                lambda one, cell: one.figures(SERVER, cell, "peak_mib"),
                name=lambda cell: cell[0],
                more_is_better=False,
            ),
        ]
    )


def _fitted(costs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(size, cost) for size, cost in costs if size >= FITTED_MIN_OBJECTS and cost > 0]


def _exponents(fitted: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    rows = []
    for what, costs in fitted.items():
        power = exponent([size for size, _ in costs], [cost for _, cost in costs])
        rows.append([what, f"{costs[0][0]:,.0f} to {costs[-1][0]:,.0f}", f"{power:.2f}"])
    return table(["cost", "objects", "exponent"], rows)
