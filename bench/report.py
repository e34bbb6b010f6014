"""Writes docs/benchmarks.md and its plots from bench/results: the newest measurement of each name, and the one before it.

./dev bench report
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

from bench.measure import Interval, geometric_mean, interval, ratios
from bench.results import folder
from bench.scale import exponent
from bench.servers import (
    DEFAULT,
    INSTALLED,
    ORTHANC,
    OURS,
    OURS_DURABLE,
    PYNETDICOM,
    REFERENCE,
    TUNED,
)

DOCS = Path(__file__).parent.parent / "docs"
_HEAD = """
Written by `./dev bench report` from `bench/results/`; `./dev bench receive`, `upload` and `end_to_end` measure. A ratio is
taken within a round, in which every server runs once on the same data, so that what else the machine does falls on all.
Intervals are of the median, from order statistics: they hold the true median in 95% of cases where there were six rounds or
more, and are the whole range where there were fewer.

- **DCMTK storescp, tuned**: `TCP_NODELAY=1 storescp --fork +B -dhl -pdu 131072`. **default, no delay**: only TCP_NODELAY=1.
  **as installed**: `storescp --fork`; Nagle and delayed acknowledgements cost it about 44 ms an object.
- **the reference's pattern**: pynetdicom, the data set decoded, written, and noted in a table in memory.
- **TCP to file, no DICOM**: the limit of this machine: the same bytes from a socket to a new file, one byte as the answer.
- None of the peers syncs. **ahi-ingest, object**, as shipped, does before each 0x0000; **ahi-ingest, none** does not.
"""

_PEERS = (TUNED, DEFAULT, INSTALLED, ORTHANC, PYNETDICOM, REFERENCE)
_SPEED = "objects_per_s"
_FITTED_MIN_OBJECTS = 100


class Measurement:
    """One measurement of a name: figures by server, kind, associations and figure's name."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._cells: dict[tuple[str, str, int], dict[str, list[float]]] = {}
        for cell, figures in document["cells"].items():
            server, kind, associations = cell.split(" | ")
            self._cells[server, kind, int(associations)] = figures

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for server, _, _ in self._cells))

    @property
    def cells(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((kind, associations) for _, kind, associations in self._cells))

    def figures(self, server: str, cell: tuple[str, int], name: str = _SPEED) -> list[float]:
        return self._cells.get((server, *cell), {}).get(name, [])

    def median(self, server: str, cell: tuple[str, int], name: str = _SPEED) -> str:
        """The median as the report shows it; a dash for what was not run."""
        figures = self.figures(server, cell, name)
        return number(statistics.median(figures)) if figures else "-"

    @property
    def rounds(self) -> int:
        """The most rounds that a cell had."""
        return max(len(self.figures(server, cell)) for server in self.servers for cell in self.cells)

    def ratio(self, ours: str, theirs: str, cell: tuple[str, int], name: str = _SPEED) -> Interval | None:
        """Ours to theirs over the rounds that both ran."""
        one, other = self.figures(ours, cell, name), self.figures(theirs, cell, name)
        rounds = min(len(one), len(other))
        return ratios(one[:rounds], other[:rounds]) if rounds else None


def read(name: str) -> list[Measurement]:
    """The measurements of a name, the newest first."""
    path = folder() / f"{name}.json"
    return [Measurement(document) for document in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def shown(one: Interval | None) -> str:
    return "-" if one is None else f"**{one.median:.2f}** ({one.low:.2f} to {one.high:.2f})"


def title(cell: tuple[str, int]) -> str:
    kind, associations = cell
    return f"{ {'ct': 'CT'}.get(kind, kind) } x{associations}"


def conditions(measurement: Measurement) -> str:
    machine, said = measurement.document["machine"], measurement.document["conditions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    versions = ", ".join(f"{name} {machine[name.lower()]}" for name in ("Python", "pynetdicom", "DCMTK", "Orthanc"))
    what = ", ".join(f"{name} {value}" for name, value in said.items())
    moment = measurement.document["measured_at"][:16].replace("T", " ")
    return (
        f"Measured {moment} UTC at commit {machine['commit']} on {where}; {versions}; {what}. "
        f"Up to {measurement.rounds} interleaved rounds: medians, in brackets their intervals.\n"
    )


def receive(measurements: Sequence[Measurement], *, ours: str, heading: str, plot: str) -> str:
    """The section on receiving: speeds, ratios to each peer, CPU, memory and latencies."""
    newest = measurements[0]
    cells, servers = newest.cells, newest.servers
    peers = [server for server in _PEERS if server in servers]
    out = [f"## {heading}\n", conditions(newest), f"![{heading}](benchmarks/{plot}.svg)\n"]
    speeds = [[server, *(newest.median(server, cell) for cell in cells)] for server in servers]
    out += ["Objects a second:\n", table(["", *map(title, cells)], speeds)]
    rows = [[f"to {peer}", *(shown(newest.ratio(ours, peer, cell)) for cell in cells)] for peer in peers]
    out += [f"{ours}, as a ratio to each peer (more is better):\n", table(["", *map(title, cells)], rows)]
    lines = []
    for peer in peers:
        medians = [one.median for cell in cells if (one := newest.ratio(ours, peer, cell))]
        if medians:
            lines.append(f"- to {peer}: geometric mean {geometric_mean(medians):.2f}, least {min(medians):.2f}")
    out += ["Over all cells:\n", "\n".join(lines) + "\n"]
    for name, what in (
        ("cpu_ms_per_object", "CPU time an object, ms"),
        ("peak_mib", "Peak resident memory of one process, MiB"),
        ("p50_ms", "Latency of an answer, median, ms"),
        ("p99_ms", "Latency of an answer, 99th percentile, ms"),
    ):
        rows = [
            [
                server,
                *(number(statistics.median(some)) if (some := newest.figures(server, cell, name)) else "-" for cell in cells),
            ]
            for server in servers
        ]
        if any(cell != "-" for row in rows for cell in row[1:]):
            out += [f"{what}:\n", table(["", *map(title, cells)], rows)]
    out.append(compared(measurements, ours))
    bars(newest, ours, peers, plot)
    return "\n".join(out)


def compared(measurements: Sequence[Measurement], ours: str) -> str:
    """What has become slower or faster since the measurement before."""
    if len(measurements) < 2:
        return "There is no earlier measurement to compare with.\n"
    newest, before = measurements[:2]
    lines = []
    for cell in newest.cells:
        now, then = newest.figures(ours, cell), before.figures(ours, cell)
        if now and then:
            change = statistics.median(now) / statistics.median(then)
            lines.append(f"{title(cell)} {change:.2f}{' (worse)' if interval(now).high < interval(then).low else ''}")
    return f"Speed against the measurement of {before.document['measured_at'][:10]}: {', '.join(lines)}.\n"


def bars(measurement: Measurement, ours: str, peers: Sequence[str], name: str) -> None:
    """A plot of the ratios to each peer, logarithmic."""
    chart = _chart(f"{ours}: objects a second, as a ratio to each peer (logarithmic)", logarithmic=True)
    chart.x_labels = [title(cell) for cell in measurement.cells]
    for peer in peers:
        one = [measurement.ratio(ours, peer, cell) for cell in measurement.cells]
        chart.add(peer, [ratio.median if ratio else None for ratio in one])
    _save(chart, name)


def _chart(heading: str, **options: Any) -> Any:
    return pygal.Bar(
        title=heading,
        style=CleanStyle(font_family="sans-serif", title_font_size=14, label_font_size=11, legend_font_size=11),
        js=(),
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        width=960,
        height=420,
        **options,
    )


def _save(chart: Any, name: str) -> None:
    folder = DOCS / "benchmarks"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.svg").write_bytes(chart.render())


def upload(measurements: Sequence[Measurement]) -> str:
    """The section on uploading."""
    from bench.upload import OURS as RECEIVER  # noqa: PLC0415
    from bench.upload import WATCHED  # noqa: PLC0415

    newest = measurements[0]
    out = ["## Uploading\n", conditions(newest)]
    both = [cell for cell in newest.cells if cell[0].startswith("receive and upload")]
    names = (_SPEED, "mib_per_s", "cpu_ms_per_object", "peak_mib")
    rows = [
        [
            f"{kind} ({client})",
            str(concurrency),
            *(newest.median(client, (kind, concurrency), name) for name in names),
        ]
        for kind, concurrency in newest.cells
        if (kind, concurrency) not in both
        for client in newest.servers
        if newest.figures(client, (kind, concurrency))
    ]
    out += [table(["size, server (client)", "at once", "objects/s", "MiB/s", "CPU ms each", "peak MiB"], rows)]
    out += ["### Receiving and uploading at once\n"]
    names = (_SPEED, "receiving_seconds", "left_when_received", "cpu_ms_per_object")
    rows = []
    for cell in both:
        for server in (RECEIVER, WATCHED):
            names = (_SPEED, "receiving_seconds", "left_when_received", "cpu_ms_per_object")
            rows.append(
                [f"{cell[0]}: {server}", *(number(statistics.median(newest.figures(server, cell, name))) for name in names)]
            )
        rows.append(["ratio", shown(newest.ratio(RECEIVER, WATCHED, cell)), "", "", ""])
    out += [table(["", "objects/s into S3", "s receiving", "not in S3 when all were received", "CPU ms each"], rows)]
    out.append(compared(measurements, RECEIVER))
    return "\n".join(out)


def end_to_end(measurements: Sequence[Measurement]) -> str:
    """The section on the whole pipeline."""
    from bench.end_to_end import OURS as PIPELINE  # noqa: PLC0415
    from bench.end_to_end import TIMER  # noqa: PLC0415

    newest = measurements[0]
    timed = [figure for cell in newest.cells for figure in newest.figures(TIMER, cell, "seconds_median")]
    out = [
        "## From the release of an association to its image sets in MySQL, less the import job's own time\n",
        conditions(newest),
    ]
    work = {
        "transitions": "transitions",
        "invocations": "Lambda invocations",
        "lambda_ms": "ms in them",
        "statements": "SQL statements",
    }
    rows = []
    for cell in newest.cells:
        spent = newest.figures(PIPELINE, cell, "seconds_median")
        if spent:
            one = interval(spent)
            rows.append(
                [
                    f"{cell[1]} of {cell[0]}",
                    f"**{one.median:.2f}** ({one.low:.2f} to {one.high:.2f})",
                    newest.median(PIPELINE, cell, "seconds_most"),
                    *(newest.median(PIPELINE, cell, name) for name in work),
                    f"{statistics.median(timed) / one.median:.1f}" if timed else "-",
                ]
            )
    head = [
        "associations",
        "s, median",
        "s, slowest",
        "transitions",
        "invocations",
        "Lambda ms",
        "SQL statements",
        "timer / ours",
    ]
    out.append(table(head, rows))
    if timed:
        one = interval(timed)
        out.append(f"The reference's timer: {one.median:.1f} s ({one.low:.1f} to {one.high:.1f}), {len(timed)} associations.\n")
    return "\n".join(out)


def scale(measurements: Sequence[Measurement]) -> str:
    """The section on growth."""
    newest = measurements[0]
    (server,), cells = newest.servers, newest.cells
    names = {
        _SPEED: "objects/s received",
        "announced_seconds": "s until announced",
        "cpu_seconds": "CPU s",
        "peak_mib": "peak MiB",
    }
    rows = [[cell[0], *(newest.median(server, cell, name) for name in names)] for cell in cells]
    fitted = {}
    for name in ("announced_seconds", "cpu_seconds"):
        sizes = [statistics.median(newest.figures(server, cell, "objects")) for cell in cells]
        costs = [statistics.median(newest.figures(server, cell, name)) for cell in cells]
        kept = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if size >= _FITTED_MIN_OBJECTS and cost > 0]
        fitted[name] = exponent([size for size, _ in kept], [cost for _, cost in kept])
    said = (
        f"Fitted from {_FITTED_MIN_OBJECTS} objects on: the time until announced grows with the power "
        f"{fitted['announced_seconds']:.2f} of their number, CPU time with the power {fitted['cpu_seconds']:.2f}.\n"
    )
    return "\n".join(
        [
            "## How costs grow with the objects of one association\n",
            conditions(newest),
            table(["one association of", *names.values()], rows),
            said,
        ]
    )


def main() -> None:
    sections = ["# Benchmarks\n", _HEAD]
    if found := read("receive"):
        sections.append(receive(found, ours=OURS, heading="Receiving", plot="receive"))
    if found := read("receive-storescu"):
        sections.append(receive(found, ours=OURS, heading="Receiving from DCMTK's storescu", plot="receive-storescu"))
    if found := read("receive-disk"):
        sections.append(receive(found, ours=OURS_DURABLE, heading="Receiving on a disk, synced", plot="receive-disk"))
    if found := read("upload"):
        sections.append(upload(found))
    if found := read("end_to_end"):
        sections.append(end_to_end(found))
    if found := read("scale"):
        sections.append(scale(found))
    path = DOCS / "benchmarks.md"
    path.write_text("\n".join(sections), encoding="utf-8")
    print(f"Wrote {path}.")  # noqa: T201 - a program's answer


if __name__ == "__main__":
    main()
