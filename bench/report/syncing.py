"""The section on what it costs to make objects durable, and on the ways that are not taken."""

from __future__ import annotations

from bench.report.measurement import Measurement, conditions, number, shown, table
from bench.syncing import NEW_FILES


def section(newest: Measurement) -> str:
    cells = newest.cells
    rows = [
        [
            name,
            *(
                part
                for cell in cells
                for part in (number(newest.median(name, cell)), shown(newest.ratio(name, NEW_FILES, cell)))
            ),
        ]
        for name in newest.servers
    ]
    head = ["way", *(part for _, threads in cells for part in (f"objects/s, {threads} threads", "ratio to new files"))]
    return "\n".join(
        [
            "## Writing alone, and other ways to sync\n",
            conditions(newest),
            "Objects of 0.5 MiB, a folder for each thread; `bench/syncing.py` says what each way does.\n",
            table(head, rows),
        ]
    )
