"""The sections on receiving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import plots
from bench.report.measurement import SPEED, Measurement, compared, conditions, number, shown, table, title
from bench.servers import (
    DEFAULT,
    INSTALLED,
    ORTHANC,
    OURS,
    OURS_DURABLE,
    OURS_RECYCLING,
    PYNETDICOM,
    REFERENCE,
    TUNED,
)

_PEERS = (TUNED, DEFAULT, INSTALLED, ORTHANC, PYNETDICOM, REFERENCE)
_FIGURES = {
    "mib_per_s": "MiB a second",
    "cpu_ms_per_object": "CPU time an object, ms",
    "peak_mib": "Peak resident memory of one process, MiB",
    "p50_ms": "Latency of an answer, median, ms",
    "p99_ms": "Latency of an answer, 99th percentile, ms",
}


def section(measurements: Sequence[Measurement], *, ours: str, heading: str, plot: Path) -> str:
    """Speeds, ratios to each peer, CPU, memory and latencies."""
    newest = measurements[0]
    cells, servers = newest.cells, newest.servers
    head = ["", *map(title, cells)]
    peers = [server for server in (*_PEERS, OURS, OURS_RECYCLING, OURS_DURABLE) if server in servers and server != ours]
    out = [f"## {heading}\n", conditions(newest), f"![{heading}](benchmarks/{plot.name})\n"]
    speeds = [[server, *(number(newest.median(server, cell)) for cell in cells)] for server in servers]
    out += ["Objects a second:\n", table(head, speeds)]
    rows = [[f"to {peer}", *(shown(newest.ratio(ours, peer, cell)) for cell in cells)] for peer in peers]
    out += [f"{ours}, as a ratio to each peer (more is better):\n", table(head, rows)]
    lines = []
    for peer in peers:
        medians = [one.median for cell in cells if (one := newest.ratio(ours, peer, cell))]
        if medians:
            lines.append(
                f"- to {peer}: geometric mean {shown(newest.mean_ratio(ours, peer, cells))}, least {number(min(medians))}"
            )
    out += ["Over all cells:\n", "\n".join(lines) + "\n"]
    for name, what in _FIGURES.items():
        rows = [[server, *(number(newest.median(server, cell, name)) for cell in cells)] for server in servers]
        if any(cell != "-" for row in rows for cell in row[1:]):
            out += [f"{what}:\n", table(head, rows)]
    changes = {SPEED: "Objects a second", "cpu_ms_per_object": _FIGURES["cpu_ms_per_object"], "peak_mib": _FIGURES["peak_mib"]}
    for name, what in changes.items():
        out.append(
            compared(
                measurements,
                f"{ours}: {what}",
                lambda one, cell, name=name: one.figures(ours, cell, name),  # type: ignore[misc]
                more_is_better=name == SPEED,
            )
        )
    plots.ratios(newest, ours, peers, plot)
    return "\n".join(out)
