"""How costs grow with the number of objects in one association: receiving, and until the association is announced.

    ./dev bench scale [--objects 10,100,1000,10000,100000] [--rounds N] [--minutes N]

S3 is the sink and SQS the emulator, so that what grows is ours. `./dev bench index` shows how indexing grows with the catalog.
A fitted exponent of 1 says that the whole cost grows as the number of objects does. Before each, the receiver has taken and
announced another association, so that what any work costs once does not pass for growth.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from rich.console import Console

from bench import results, s3
from bench.measure import PeakMemory, cpu_seconds, settle
from bench.programs import RECEIVER_PYTHON
from bench.servers import ours
from local.ministack import MiniStack
from local.processes import Process, accepts, free_port

SERVER = "ahi-ingest"
_WITHIN_SECONDS = 900
_LOOK_SECONDS = 0.05
_BEFORE_OBJECTS = 200


def exponent(sizes: list[float], costs: list[float]) -> float:
    """The exponent of the power law that fits best: the slope of the logarithms, by least squares."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def measure(folder: Path, server: s3.S3, queues: MiniStack, objects: int, run: int) -> dict[str, float]:
    """One association of so many tiny objects, on an empty spool."""
    queue_url = queues.aws.sqs.create_queue(QueueName=f"bench-{run}")["QueueUrl"]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        port = free_port()
        environment = {**os.environ, **ours(port, Path(place), durability="none", workers=1), **server.environment} | {
            "AHI_INGEST_EDGE_ID": f"bench-{run}",
            "AHI_INGEST_BUCKET": s3.BUCKET,
            "AHI_INGEST_QUEUE_URL": queue_url,
            "AWS_ENDPOINT_URL": queues.endpoint_url,
        }
        command = [RECEIVER_PYTHON, "-m", "receiver"]
        with Process.start("receiver", command, log_path=Path(place) / "log", ready=accepts(port), env=environment) as process:
            root = psutil.Process(process.group)
            for count in (_BEFORE_OBJECTS, objects):
                settle(root)
                before = cpu_seconds(root)
                with PeakMemory(root) as memory:
                    sender = [sys.executable, "-m", "bench.sender", "dicom", str(port), f"tiny:{count}", "1", str(run)]
                    sent = subprocess.run(sender, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
                    receiving = count / json.loads(sent.stdout)["objects_per_s"]
                    began = time.monotonic() - receiving
                    _await_message(queues, queue_url, count)
                    announced = time.monotonic() - began
                cpu = cpu_seconds(root) - before
    return {
        "objects": objects,
        "objects_per_s": objects / receiving,
        "announced_seconds": announced,
        "cpu_seconds": cpu,
        "peak_mib": memory.mib,
    }


def _await_message(queues: MiniStack, queue_url: str, objects: int) -> None:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not (messages := queues.aws.sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1).get("Messages")):
        if time.monotonic() > deadline:
            raise SystemExit(f"{objects} objects were not announced in {_WITHIN_SECONDS} s")
        time.sleep(_LOOK_SECONDS)
    queues.aws.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=messages[0]["ReceiptHandle"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench scale", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", default="10,100,1000,10000,100000")
    parser.add_argument("--rounds", type=int, default=3, help="at most (3)")
    parser.add_argument("--minutes", type=float, default=10, help="no round is begun that would end after them (10)")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))  # noqa: S108
    arguments = parser.parse_args()
    console, run = Console(stderr=True), int(time.time())
    began, longest = time.monotonic(), 0.0
    with results.Results("scale", folder=str(arguments.folder)) as kept, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-", dir=arguments.folder)))
        server = stack.enter_context(s3.running(s3.SINK, folder))
        queues = stack.enter_context(MiniStack.start(folder / "queues", free_port()))
        for number in range(arguments.rounds):
            round_began = time.monotonic()
            if number and round_began + longest > began + 60 * arguments.minutes:
                console.print(f"{number} round(s) in {(round_began - began) / 60:.0f} minutes: no time for another")
                break
            for objects in map(int, arguments.objects.split(",")):
                run += 1
                console.print(f"round {number + 1}: {objects} objects")
                kept.add(SERVER, f"{objects} objects", 1, measure(folder, server, queues, objects, run))
            longest = max(longest, time.monotonic() - round_began)


if __name__ == "__main__":
    main()
