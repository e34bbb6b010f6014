"""The section on uploading."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.measurement import SPEED, Cell, Measurement, compared, conditions, number, shown, table
from bench.upload import OURS, WATCHED
from bench.upload_client import OURS as OUR_CLIENT

_BOTH = "receive and upload"


def both(measurement: Measurement) -> list[Cell]:
    """The cells of receiving and uploading at once."""
    return [cell for cell in measurement.cells if cell[0].startswith(_BOTH)]


def _name(cell: Cell) -> str:
    return f"{cell[0]} x{cell[1]}"


def section(measurements: Sequence[Measurement]) -> str:
    newest = measurements[0]
    names = (SPEED, "mib_per_s", "cpu_ms_per_object", "peak_mib")
    rows = [
        [f"{cell[0]} ({client})", str(cell[1]), *(number(newest.median(client, cell, name)) for name in names)]
        for cell in newest.cells
        if cell not in both(newest)
        for client in newest.servers
        if newest.figures(client, cell)
    ]
    out = ["## Uploading\n", conditions(newest)]
    out.append(table(["size, server (client)", "at once", "objects/s", "MiB/s", "CPU ms each", "peak MiB"], rows))
    of_both = (SPEED, "receiving_seconds", "left_when_received", "cpu_ms_per_object", "s3_cpu_ms_per_object")
    rows = []
    for cell in both(newest):
        for server in (OURS, *WATCHED):
            ratio = shown(newest.ratio(OURS, server, cell)) if server != OURS else ""
            rows.append([f"{cell[0]}: {server}", *(number(newest.median(server, cell, name)) for name in of_both), ratio])
    head = ["", "objects/s into S3", "s receiving", "not in S3 when all were received", "CPU ms each", "CPU ms of S3 itself"]
    head.append("ours to it")
    out += ["### Receiving and uploading at once\n", table(head, rows)]
    out.append(compared(measurements, "Receiving and uploading", lambda one, cell: one.figures(OURS, cell), name=_name))
    out.append(
        compared(measurements, "Our client, objects a second", lambda one, cell: one.figures(OUR_CLIENT, cell), name=_name)
    )
    return "\n".join(out)
