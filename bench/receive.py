"""How fast the receiver takes objects, beside DCMTK's, Orthanc's and pynetdicom's storage servers, on the same data.

    ./dev bench receive [--rounds N] [--kinds ct,tiny,large] [--associations 1,4,16] [--servers ...] [--folder DIR]

Every round runs each server in turn, on an empty folder and after a warm-up, so that what else the machine does falls on all.
Ours runs as shipped, with validation, metrics and logs; AWS is away meanwhile, so the figures are for receiving alone. With
`recycled files` it has uploaded before, and writes over the files of what it uploaded, as it does once it runs; otherwise all
files are new. Slow servers are sent a quarter of the objects. What is kept of each run: objects and MiB a second, latencies of
the answers, CPU time an object, and the peak of resident memory.
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
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import Progress

from bench import results, s3
from bench.data import CT, LARGE, Kind, kind_of, write_files
from bench.measure import PeakMemory, cpu_seconds, settle
from bench.programs import dcmtk
from bench.servers import Server, servers
from local.processes import Process, ProcessError, accepts, free_port

WORKERS = 2 * (os.cpu_count() or 1)
SLOW_SHARE = 4
_WARM_UP_OBJECTS, _WARM_UP_RUNS = 64, 50_000  # every process of a server has stored something before it is measured
_UPLOADED_WITHIN_SECONDS, _LOOK_SECONDS = 120, 0.1
_TOUCH = bytes(4 * 2**20)
FAST, STORESCU = "fast sender", "DCMTK storescu"


class RunError(Exception):
    """A sender did not get all of its objects stored."""


@contextmanager
def running(server: Server, folder: Path, kind: Kind, run: int) -> Iterator[tuple[int, psutil.Process]]:
    """The server on a free port and an empty folder, but for files that it may write over: (port, its process)."""
    port, place = free_port(), Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, **server.environment, **server.settings(port, place)}
    try:
        with ExitStack() as stack:
            if server.recycles:
                sink = stack.enter_context(s3.running(s3.SINK, place))
                environment |= {"AWS_ENDPOINT_URL": sink.endpoint_url, "AHI_INGEST_QUEUE_URL": f"{sink.endpoint_url}/queue"}
            process = stack.enter_context(
                Process.start(
                    server.name, server.command(port, place), log_path=place / "log", ready=accepts(port), env=environment
                )
            )
            if server.recycles:
                _upload_before(server, place / "spool", port, kind, run)
                sink.process.stop()
            yield port, psutil.Process(process.group)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _upload_before(server: Server, spool: Path, port: int, kind: Kind, run: int) -> None:
    """Four times as many objects, over so many associations that every process has its share: until all are uploaded."""
    _send(server, port, replace(kind, objects=4 * kind.objects), 4 * WORKERS, run + _WARM_UP_RUNS)
    deadline = time.monotonic() + _UPLOADED_WITHIN_SECONDS
    while any(not path.name.startswith("removed-") for path in spool.glob("out/*/*/")):
        if time.monotonic() > deadline:
            raise RunError(f"what came before was not uploaded after {_UPLOADED_WITHIN_SECONDS} s")
        time.sleep(_LOOK_SECONDS)


def measure(server: Server, folder: Path, kind: Kind, *, associations: int, client: str, run: int) -> dict[str, float]:
    """The figures of one run."""
    with running(server, folder, kind, run) as (port, process), PeakMemory(process) as memory:
        settle(process)
        if not server.recycles:
            _send(server, port, replace(CT, objects=_WARM_UP_OBJECTS), associations, run + _WARM_UP_RUNS)
            settle(process)
        touch_memory(folder, kind.count(associations) * kind.pixel_bytes)
        before = cpu_seconds(process)
        if client == FAST:
            figures = _send(server, port, kind, associations, run)
        else:
            figures = _storescu(port, folder, kind, associations, run)
        figures["cpu_ms_per_object"] = 1e3 * (cpu_seconds(process) - before) / figures["objects"]
    figures["peak_mib"] = memory.mib
    return figures


def _send(server: Server, port: int, kind: Kind, associations: int, run: int) -> dict[str, float]:
    """What the fast sender says."""
    command = [sys.executable, "-m", "bench.sender", server.mode, str(port)]
    command += [f"{kind.name}:{kind.objects}", str(associations), str(run)]
    sent = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if sent.returncode:
        said = sent.stderr.strip().splitlines()
        raise RunError(said[-1] if said else f"the sender ended with code {sent.returncode}: out of memory, perhaps")
    figures: dict[str, float] = json.loads(sent.stdout)
    return figures


def touch_memory(folder: Path, size_bytes: int) -> None:
    """Have the machine find so much memory now: a virtual one gets it from its host at the first touch, which costs more than
    the rest, and would fall on whichever server ran first."""
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(0, size_bytes, len(_TOUCH)):
            file.write(_TOUCH)


def _storescu(port: int, folder: Path, kind: Kind, associations: int, run: int) -> dict[str, float]:
    """DCMTK's own sender: a process an association, its start included."""
    files = Path(tempfile.mkdtemp(dir=folder))
    try:
        shares = write_files(kind, files, run=run, shares=associations)
        began = time.monotonic()
        senders = [
            subprocess.Popen(  # noqa: S603
                [dcmtk("storescu"), "-pdu", "131072", "+sd", "127.0.0.1", str(port), str(share)],
                env={**os.environ, "TCP_NODELAY": "1"},
                stderr=subprocess.PIPE,
            )
            for share in shares
        ]
        ended = [(sender.communicate()[1], sender.returncode) for sender in senders]
        seconds = time.monotonic() - began
        if any(code for _, code in ended):
            raise RunError(f"storescu: {next(said for said, code in ended if code)[-200:]!r}")
        count = kind.count(associations)
        return {"objects": count, "objects_per_s": count / seconds, "mib_per_s": count * kind.pixel_bytes / 2**20 / seconds}
    finally:
        shutil.rmtree(files, ignore_errors=True)


def filesystem(folder: Path) -> str:
    """The type of the file system that holds a folder, such as tmpfs or ext4."""
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    return next(mounts[place] for place in (folder, *folder.parents) if place in mounts)


def fits(server: Server, kind: Kind, associations: int, client: str) -> bool:
    """Whether a cell can be run: some refuse many associations, some would keep many large objects in memory, and large files
    are not recycled."""
    many_large = kind.name == LARGE.name and associations > 1
    return (
        associations <= server.max_associations
        and not (many_large and (server.keeps_objects_in_memory or client == STORESCU))
        and not (server.recycles and kind.name == LARGE.name)
    )


def share_of(server: Server, kind: Kind) -> Kind:
    """What a server is sent of a kind: a slow one a quarter, so that it has as many rounds as the others."""
    return replace(kind, objects=max(1, kind.objects // SLOW_SHARE)) if server.slow else kind


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench receive", description=__doc__.splitlines()[0] if __doc__ else None)
    known = servers(WORKERS)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    parser.add_argument("--kinds", default="ct,tiny,large", help="of ct, tiny, large (all); ct:30 for fewer objects")
    parser.add_argument("--associations", default="1,4,16", help="at once (1,4,16)")
    parser.add_argument(
        "--servers",
        default=",".join(name for name in known if not known[name].recycles),
        help="by name, where each fits; by default all but those with recycled files",
    )
    parser.add_argument("--slow-rounds", type=int, default=7, help="rounds for Orthanc, pynetdicom and DCMTK as installed (7)")
    parser.add_argument("--client", choices=(FAST, STORESCU), default=FAST)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where servers write (/dev/shm)")  # noqa: S108
    parser.add_argument("--name", default="receive", help="the name that the results are kept under")
    arguments = parser.parse_args()
    chosen = [known[name.strip()] for name in _names(arguments.servers, known)]
    cells = [
        (kind_of(kind), int(associations))
        for kind, associations in itertools.product(arguments.kinds.split(","), arguments.associations.split(","))
    ]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    conditions = {"client": arguments.client, "workers": WORKERS, "folder": str(arguments.folder)}
    conditions["slow_servers_are_sent"] = f"1/{SLOW_SHARE}"
    conditions["filesystem"] = filesystem(arguments.folder.resolve())
    failed: dict[tuple[str, str, int], str] = {}
    run = int(time.time())
    with (
        results.Results(arguments.name, **conditions) as kept,
        tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-", dir=arguments.folder.resolve()) as folder,
        Progress(console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("Measuring", total=arguments.rounds * len(cells) * len(chosen))
        for number, (kind, associations), place in itertools.product(range(arguments.rounds), cells, range(len(chosen))):
            server = chosen[(place + number) % len(chosen)]  # nobody is always first, or always after the same one
            bar.update(task, description=f"{kind.name} x{associations} {server.name}"[:44])
            cell = server.name, kind.name, associations
            done = cell in failed or (server.slow and number >= arguments.slow_rounds)
            if fits(server, kind, associations, arguments.client) and not done:
                run += 1
                sent = share_of(server, kind)
                try:
                    figures = measure(server, Path(folder), sent, associations=associations, client=arguments.client, run=run)
                except (ProcessError, RunError) as error:
                    failed[cell] = str(error)  # the others go on; a round that lacks one would not be a pair
                else:
                    kept.add(*cell, figures)
            bar.advance(task)
    if failed:
        raise SystemExit("\n".join(f"{name}, {kind} x{count}: {error}" for (name, kind, count), error in failed.items()))


def _names(text: str, known: dict[str, Server]) -> list[str]:
    """Server names, which hold commas themselves."""
    return [name for name in known if name in text]


if __name__ == "__main__":
    main()
