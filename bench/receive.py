"""How fast the receiver takes objects, beside DCMTK's, Orthanc's and pynetdicom's storage servers, on the same data.

    ./dev bench receive [--rounds N] [--kinds ct,tiny,large] [--associations 1,4,16] [--servers ...] [--folder DIR]

Every round runs each server in turn on an empty folder, so that what else the machine does falls on all. Ours runs as shipped,
with validation, metrics and logs; AWS is away meanwhile, so the figures are for receiving alone. What is kept of each run:
objects and MiB a second, latencies of the answers, CPU time an object, and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import Progress

from bench import results
from bench.data import KINDS, LARGE, Kind, write_files
from bench.measure import PeakMemory, cpu_seconds, settle
from bench.servers import Server, servers
from local.processes import Process, accepts, free_port

WORKERS = 2 * (os.cpu_count() or 1)
FAST, STORESCU = "fast sender", "DCMTK storescu"


@contextmanager
def running(server: Server, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The server on a free port and an empty folder: (port, its process)."""
    port, place = free_port(), Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, **server.environment, **server.settings(port, place)}
    try:
        with Process.start(
            server.name, server.command(port, place), log_path=place / "log", ready=accepts(port), env=environment
        ) as process:
            yield port, psutil.Process(process.group)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(server: Server, folder: Path, kind: Kind, *, associations: int, client: str, run: int) -> dict[str, float]:
    """The figures of one run."""
    with running(server, folder) as (port, process), PeakMemory(process) as memory:
        settle(process)
        before = cpu_seconds(process)
        if client == FAST:
            command = [sys.executable, "-m", "bench.sender", server.mode, str(port), kind.name, str(associations), str(run)]
            sent = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
            if sent.returncode:
                raise SystemExit(f"{server.name}, {kind.name} x{associations}: {sent.stderr.splitlines()[-1]}")
            figures: dict[str, float] = json.loads(sent.stdout)
        else:
            figures = _storescu(port, folder, kind, associations, run)
        figures["cpu_ms_per_object"] = 1e3 * (cpu_seconds(process) - before) / figures["objects"]
    figures["peak_mib"] = memory.mib
    return figures


def _storescu(port: int, folder: Path, kind: Kind, associations: int, run: int) -> dict[str, float]:
    """DCMTK's own sender: a process an association, its start included."""
    files = Path(tempfile.mkdtemp(dir=folder))
    try:
        shares = write_files(kind, files, run=run, shares=associations)
        began = time.monotonic()
        senders = [
            subprocess.Popen(  # noqa: S603
                ["storescu", "-pdu", "131072", "+sd", "127.0.0.1", str(port), str(share)],  # noqa: S607 - found on PATH
                env={**os.environ, "TCP_NODELAY": "1"},
                stderr=subprocess.PIPE,
            )
            for share in shares
        ]
        ended = [(sender.communicate()[1], sender.returncode) for sender in senders]
        seconds = time.monotonic() - began
        if any(code for _, code in ended):
            raise SystemExit(f"storescu failed: {ended[0][0][-200:]!r}")
        count = kind.count(associations)
        return {"objects": count, "objects_per_s": count / seconds, "mib_per_s": count * kind.pixel_bytes / 2**20 / seconds}
    finally:
        shutil.rmtree(files, ignore_errors=True)


def fits(server: Server, kind: Kind, associations: int, client: str) -> bool:
    """Whether a cell can be run: some refuse many associations, and some would keep many large objects in memory."""
    many_large = kind is LARGE and associations > 1
    return associations <= server.max_associations and not (
        many_large and (server.keeps_objects_in_memory or client == STORESCU)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench receive", description=__doc__.splitlines()[0] if __doc__ else None)
    known = servers(WORKERS)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    parser.add_argument("--kinds", default="ct,tiny,large", help="of ct, tiny, large (all)")
    parser.add_argument("--associations", default="1,4,16", help="at once (1,4,16)")
    parser.add_argument("--servers", default=",".join(known), help="by name; all by default, but where each fits")
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds for servers that take seconds a run (3)")
    parser.add_argument("--client", choices=(FAST, STORESCU), default=FAST)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where servers write (/dev/shm)")  # noqa: S108
    parser.add_argument("--name", default="receive", help="the name that the results are kept under")
    arguments = parser.parse_args()
    chosen = [known[name.strip()] for name in _names(arguments.servers, known)]
    cells = [
        (KINDS[kind], int(associations))
        for kind, associations in itertools.product(arguments.kinds.split(","), arguments.associations.split(","))
    ]
    kept = results.Results(arguments.name, client=arguments.client, workers=WORKERS, folder=str(arguments.folder))
    console = Console(stderr=True)
    run = int(time.time())
    with (
        tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-", dir=arguments.folder) as folder,
        Progress(console=console) as bar,
    ):
        task = bar.add_task("Measuring", total=arguments.rounds * len(cells) * len(chosen))
        slow: set[tuple[str, str, int]] = set()
        for number, (kind, associations), server in itertools.product(range(arguments.rounds), cells, chosen):
            bar.update(task, description=f"{kind.name} x{associations} {server.name}"[:44])
            cell = server.name, kind.name, associations
            if fits(server, kind, associations, arguments.client) and not (cell in slow and number >= arguments.slow_rounds):
                run += 1
                began = time.monotonic()
                kept.add(
                    *cell, measure(server, Path(folder), kind, associations=associations, client=arguments.client, run=run)
                )
                if time.monotonic() - began > 6:
                    slow.add(cell)
            bar.advance(task)
    path = kept.save()
    console.print(f"Kept in {path}. `./dev bench report` writes docs/benchmarks.md.")


def _names(text: str, known: dict[str, Server]) -> list[str]:
    """Server names, which hold commas themselves."""
    return [name for name in known if name in text]


if __name__ == "__main__":
    main()
