"""How fast objects get from the spool to S3: the client libraries side by side, and receiving and uploading at once.

    ./dev bench upload [--rounds N] [--servers seaweedfs,ministack] [--folder DIR]

The second part sends CT to our receiver, and to DCMTK's storescp with a script that watches its folder (bench/watcher.py),
each with the S3 server on this machine; the clock runs from the first object sent to the last one's arrival in S3.
`left_when_received` counts the objects that were not in S3 yet when the last had been received. The script that starts AWS's
command line for each file is sent a twentieth of the objects.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from rich.console import Console

from bench import results, s3
from bench.data import CT
from bench.measure import cpu_seconds, settle
from bench.programs import RECEIVER_PYTHON
from bench.servers import TUNED, ours, servers
from bench.upload_client import BOTO3, CLIENTS
from bench.watcher import COPY, SCRIPTS
from local.ministack import MiniStack
from local.processes import Process, accepts, free_port
from receiver.aws import PART_BYTES

OURS = "ahi-ingest"
WATCHED = {f"storescp and a script with {script}": script for script in SCRIPTS}
"""What is beside ours: the script that watches, by the name that the results are kept under."""
SLOW_SHARE = 20
SIZES = {"512 KiB": (512 * 1024, 400), "50 MiB": (50 * 1024 * 1024, 8)}
WORKERS = 2 * (os.cpu_count() or 1)
_LOOK_SECONDS = 0.05
_ASSOCIATIONS = 4
_WITHIN_SECONDS = 300


Case = tuple[str, int, int, int, str]
"""A size's name, bytes and number of objects; how many are uploaded at once; and the client."""


def clients(server: s3.S3, run: int, kept: results.Results, which: str, cases: Sequence[Case]) -> None:
    """One round of every case."""
    for size, size_bytes, count, concurrency, client in cases:
        if size_bytes > PART_BYTES and (client == BOTO3 or which == s3.SINK):
            continue  # put_object would hold each object whole; the sink knows no multipart uploads
        arguments = [
            client,
            server.endpoint_url,
            str(size_bytes),
            str(count),
            str(concurrency),
            f"{run}/{client[:4]}/{size_bytes}/{concurrency}",
        ]
        ran = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "bench.upload_client", *arguments],
            env={**os.environ, **server.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"{client}: {ran.stderr.strip().splitlines()[-1]}")
        kept.add(client, f"{size} to {which}", concurrency, json.loads(ran.stdout))


@contextmanager
def _ours(folder: Path, server: s3.S3, queue_url: str, run: int) -> Iterator[tuple[int, list[psutil.Process]]]:
    port = free_port()
    environment = {**os.environ, **ours(port, folder, durability="object", workers=WORKERS), **server.environment} | {
        "AHI_INGEST_EDGE_ID": f"bench-{run}",
        "AHI_INGEST_BUCKET": s3.BUCKET,
        "AHI_INGEST_QUEUE_URL": queue_url,
        "AWS_ENDPOINT_URL": queue_url.split("/000000000000", 1)[0],
    }
    with Process.start(
        OURS, [RECEIVER_PYTHON, "-m", "receiver"], log_path=folder / "log", ready=accepts(port), env=environment
    ) as process:
        yield port, [psutil.Process(process.group)]


@contextmanager
def _watched(folder: Path, server: s3.S3, prefix: str, script: str) -> Iterator[tuple[int, list[psutil.Process]]]:
    port, storescp = free_port(), servers(WORKERS)[TUNED]
    place = folder / "received"
    place.mkdir()
    with (
        Process.start(
            TUNED,
            storescp.command(port, place),
            log_path=folder / "log",
            ready=accepts(port),
            env={**os.environ, **storescp.environment},
        ) as receiver,
        Process.start(
            "watching script",
            [sys.executable, "-m", "bench.watcher", str(place), prefix, script],
            log_path=folder / "log",
            ready=lambda: True,
            env={**os.environ, **server.environment},
        ) as watching,
    ):
        yield port, [psutil.Process(receiver.group), psutil.Process(watching.group)]


def receive_and_upload(which: str, folder: Path, server: s3.S3, queue_url: str, *, objects: int, run: int) -> dict[str, float]:
    """One run over four associations."""
    place = Path(tempfile.mkdtemp(dir=folder))
    prefix = f"instances/bench-{run}/" if which == OURS else f"watched/{run}/"
    started = _ours(place, server, queue_url, run) if which == OURS else _watched(place, server, prefix, WATCHED[which])
    try:
        with started as (port, processes):
            for process in processes:
                settle(process)
            s3_process = psutil.Process(server.process.group)
            before, s3_before = sum(map(cpu_seconds, processes)), cpu_seconds(s3_process)
            sender = [sys.executable, "-m", "bench.sender", "dicom", str(port), f"ct:{objects}", str(_ASSOCIATIONS), str(run)]
            sent = subprocess.run(sender, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
            if sent.returncode:
                raise SystemExit(sent.stderr.strip().splitlines()[-1])
            receiving = objects / json.loads(sent.stdout)["objects_per_s"]
            began, expected = time.monotonic() - receiving, objects + _ASSOCIATIONS  # each has sent one before the clock
            left = expected - _arrived(server, prefix)
            while _arrived(server, prefix) < expected:
                if time.monotonic() - began > _WITHIN_SECONDS:
                    raise SystemExit(f"{which}: not all objects were in S3 after {_WITHIN_SECONDS} s")
                time.sleep(_LOOK_SECONDS)
            seconds = time.monotonic() - began
            cpu, s3_cpu = sum(map(cpu_seconds, processes)) - before, cpu_seconds(s3_process) - s3_before
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return {
        "objects": objects,
        "objects_per_s": objects / seconds,
        "mib_per_s": objects * CT.pixel_bytes / 2**20 / seconds,
        "receiving_seconds": receiving,
        "left_when_received": left,
        "cpu_ms_per_object": 1e3 * cpu / objects,
        "s3_cpu_ms_per_object": 1e3 * s3_cpu / objects,
    }


def _arrived(server: s3.S3, prefix: str) -> int:
    pages = server.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=s3.BUCKET, Prefix=prefix)
    return sum(page["KeyCount"] for page in pages)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench upload", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--servers", default=f"{s3.SEAWEEDFS},{s3.MINISTACK},{s3.SINK}")
    parser.add_argument("--at-once", default="1,8,16", help="uploads of a client (1,8,16)")
    parser.add_argument("--share", type=float, default=1, help="of the objects that each client uploads (1)")
    parser.add_argument("--objects", type=int, default=600, help="CT objects for receiving and uploading at once (600)")
    parser.add_argument("--scripts", default=",".join(SCRIPTS), help=f"that watch ({','.join(SCRIPTS)})")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108
    arguments = parser.parse_args()
    console, run, scripts = Console(stderr=True), int(time.time()), arguments.scripts.split(",")
    if unknown := set(scripts) - set(SCRIPTS):
        parser.error(f"no such script: {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    at_once = [int(concurrency) for concurrency in arguments.at_once.split(",")]
    cases = [
        (size, size_bytes, max(1, round(count * arguments.share)), concurrency, client)
        for (size, (size_bytes, count)), concurrency, client in itertools.product(SIZES.items(), at_once, CLIENTS)
    ]
    with results.Results("upload", workers=WORKERS, folder=str(arguments.folder)) as kept:
        for number, which in itertools.product(range(arguments.rounds), arguments.servers.split(",")):
            console.print(f"round {number + 1} of {arguments.rounds}, {which}")
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
                server = stack.enter_context(s3.running(which, folder))
                queues = stack.enter_context(MiniStack.start(folder / "queues", free_port()))
                queue_url = queues.aws.sqs.create_queue(QueueName="bench")["QueueUrl"]
                clients(server, run, kept, which, cases)
                for both in (OURS, *(name for name, script in WATCHED.items() if script in scripts)):
                    run += 1
                    objects = arguments.objects // (SLOW_SHARE if WATCHED.get(both) == COPY else 1)
                    objects = max(objects, _ASSOCIATIONS)
                    figures = receive_and_upload(both, folder, server, queue_url, objects=objects, run=run)
                    kept.add(both, f"receive and upload to {which}", _ASSOCIATIONS, figures)


if __name__ == "__main__":
    main()
