"""The section on indexing."""

from __future__ import annotations

from collections.abc import Sequence

from bench.index import OURS, READING, REFERENCE
from bench.measure import interval
from bench.report.measurement import Cell, Measurement, compared, conditions, number, shown, table
from bench.scale import exponent

SPEED, FETCHED = "objects_a_second", "bytes_an_object"


_ABOUT = """\
One worker each, on the same objects; ours with a client of S3 that is kept, the reference's way with a session, a secret and
a connection that are made for each 40 objects, as it makes them. Bytes are those that were fetched from S3; CPU time is the
indexer's own, without S3's and the database's. What stands for S3 shows in the speeds: where none is named it is the local
stack's emulator; seaweedfs stores; `memory` is a server of the benchmark's own that keeps objects in memory, and answers each
GET after so many milliseconds. `Only read` is how fast the first 16 KiB of each object come, 16 at once, when nothing is done
with them: what bounds any indexer that reads so. S3's own first byte takes 10 to 30 ms, by what is commonly said; it was not
measured here.
"""


def seconds_per_object(measurement: Measurement, server: str) -> float | None:
    """What one worker takes for a CT object in the smallest catalog that was measured."""
    rows = [cell for cell in measurement.cells if cell[0] == "ct"]
    speed = measurement.median(server, min(rows, key=lambda cell: cell[1]), SPEED) if rows else None
    return 1 / speed if speed else None


def _name(cell: Cell) -> str:
    return f"{cell[0]} with {cell[1]:,} instances"


def section(measurements: Sequence[Measurement]) -> str:
    """Objects a second, bytes an object, ratios to the reference's way, and growth with the catalog."""
    newest = measurements[0]
    rows = []
    for cell in sorted(newest.cells):
        fetched = [newest.median(server, cell, FETCHED) for server in (OURS, REFERENCE)]
        fewer = number(fetched[1] / fetched[0]) if fetched[0] and fetched[1] else "-"
        speeds = [number(newest.median(server, cell, SPEED)) for server in (OURS, REFERENCE, READING)]
        statements = [number(newest.median(server, cell, "statements_an_object")) for server in (OURS, REFERENCE)]
        spent = [number(newest.median(server, cell, "cpu_ms_an_object")) for server in (OURS, REFERENCE)]
        faster = shown(newest.ratio(OURS, REFERENCE, cell, SPEED))
        rows.append([cell[0], f"{cell[1]:,}", *speeds, faster, *spent, *map(number, fetched), fewer, *statements])
    head = [
        "objects",
        "instances before",
        "objects/s",
        "the reference's way",
        "only read",
        "ratio",
        "CPU ms an object",
        "the reference's",
    ]
    head += ["bytes an object", "the reference's", "fewer by", "SQL statements an object", "the reference's"]
    out = ["## Indexing: headers into the catalog\n", conditions(newest), table(head, rows)]
    out += [_ABOUT, _growth(newest)]
    out.append(compared(measurements, "Objects a second", lambda one, cell: one.figures(OURS, cell, SPEED), name=_name))
    return "\n".join(out)


def _growth(newest: Measurement) -> str:
    """How the time of an object grows with the catalog's rows."""
    lines = []
    for kind in dict.fromkeys(kind for kind, _ in newest.cells):
        cells = sorted(cell for cell in newest.cells if cell[0] == kind)
        if len(cells) < 2:
            continue
        said = []
        for server in (OURS, REFERENCE):
            costs = [1 / interval(newest.figures(server, cell, SPEED)).median for cell in cells]
            power = exponent([cell[1] for cell in cells], costs)
            said.append(f"{server} {costs[-1] / costs[0]:.2f} times, power {power:.3f}")
        lines.append(f"- {kind}, from {cells[0][1]:,} to {cells[-1][1]:,} instances: {'; '.join(said)}")
    return "How the time of one object grows with the catalog (0 is not at all):\n\n" + "\n".join(lines) + "\n" if lines else ""
