"""How fast the receiver takes objects, beside DCMTK's and pynetdicom's own storage servers on the same data.

    ./dev bench [--rounds N] [--objects N] [--folder DIR]

Every round runs each server in turn, so that what else the machine does falls on all; medians and ratios are printed.
Ours runs as shipped: each object is synced to disk before its 0x0000. The others sync nothing. AWS is away meanwhile, so
the figures are for receiving alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.processes import Process, accepts, free_port

BASELINE = "DCMTK, tuned"
OBJECT_BYTES = 512 * 1024
ASSOCIATIONS = (1, 4)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server to measure: how it is started on a port, writing below a folder."""

    name: str
    command: Callable[[int, Path], list[str]]
    environment: Callable[[int, Path], dict[str, str]] = lambda _port, _folder: {}


def _ours(port: int, folder: Path) -> dict[str, str]:
    return {
        "AHI_INGEST_EDGE_ID": "bench",
        "AHI_INGEST_BUCKET": "nowhere",
        "AHI_INGEST_QUEUE_URL": "http://127.0.0.1:9/nowhere",
        "AHI_INGEST_SPOOL": str(folder),
        "AHI_INGEST_HOST": "127.0.0.1",
        "AHI_INGEST_PORT": str(port),
        "AHI_INGEST_DRAIN_TIMEOUT_SECONDS": "0",
        "AHI_INGEST_LOG_LEVEL": "ERROR",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
    }


SERVERS = (
    Server(
        name=BASELINE,
        command=lambda port, folder: ["storescp", "--fork", "+B", "-dhl", "-pdu", "131072", "-od", str(folder), str(port)],
        environment=lambda _port, _folder: {"TCP_NODELAY": "1"},
    ),
    Server(name="DCMTK, as installed", command=lambda port, folder: ["storescp", "-od", str(folder), str(port)]),
    Server(
        name="pynetdicom storescp",
        command=lambda port, folder: [sys.executable, "-m", "pynetdicom", "storescp", "-od", str(folder), str(port)],
    ),
    Server(name="ahi-ingest", command=lambda _port, _folder: [sys.executable, "-m", "receiver"], environment=_ours),
)


def measure(server: Server, folder: Path, associations: int, objects: int) -> float:
    """Objects a second of one run, on an empty folder."""
    port, place = free_port(), Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, **server.environment(port, place)}
    log = folder / "server.log"
    try:
        with Process.start(server.name, server.command(port, place), log_path=log, ready=accepts(port), env=environment):
            sender = [sys.executable, "-m", "bench.sender", str(port), str(associations), str(objects), str(OBJECT_BYTES)]
            ran = subprocess.run(sender, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
            if ran.returncode:
                raise SystemExit(f"{server.name}: {ran.stderr.splitlines()[-1]}")
            figures: dict[str, float] = json.loads(ran.stdout)
            return figures["objects_per_s"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--objects", type=int, default=100, help="objects a run, of 0.5 MiB each (100)")
    parser.add_argument("--folder", type=Path, default=None, help="where servers write (the temp folder)")
    arguments = parser.parse_args()
    results: dict[tuple[str, int], list[float]] = {}
    console = Console()
    temporary = tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-", dir=arguments.folder)
    with temporary as folder, console.status("Measuring"):
        for _round, associations, server in itertools.product(range(arguments.rounds), ASSOCIATIONS, SERVERS):
            figure = measure(server, Path(folder), associations, arguments.objects)
            results.setdefault((server.name, associations), []).append(figure)
    table = Table("server", title=f"Objects of 0.5 MiB a second: median of {arguments.rounds} (ratio to {BASELINE}; range)")
    for associations in ASSOCIATIONS:
        table.add_column(f"{associations} association(s)", justify="right")
    for server in SERVERS:
        cells = []
        for associations in ASSOCIATIONS:
            figures, baseline = results[server.name, associations], results[BASELINE, associations]
            ratio = statistics.median(ours / theirs for ours, theirs in zip(figures, baseline, strict=True))
            cells.append(f"{statistics.median(figures):.0f} ({ratio:.2f}; {min(figures):.0f} to {max(figures):.0f})")
        table.add_row(server.name, *cells)
    console.print(table)
    console.print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
