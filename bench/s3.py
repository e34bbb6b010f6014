"""The S3 servers that uploads and indexing are measured against, on loopback.

seaweedfs, which stores; the AWS emulator, which the local stack uses; a sink, which shows what clients that put can do; and
one that keeps objects in memory, which shows what clients that get can do, and with S3's own latency.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Aws
from local.ministack import MiniStack
from local.processes import LOOPBACK, Process, ProcessError, accepts, free_port, http_answers

BUCKET = "bench"
SEAWEEDFS, MINISTACK, SINK, MEMORY = "seaweedfs", "ministack", "a sink", "memory"
AFTER = "+"
"""Between MEMORY and the milliseconds after which it answers a GET: `memory+20`."""


class S3:
    """A running server with an empty bucket."""

    def __init__(self, endpoint_url: str, process: Process) -> None:
        self.endpoint_url, self.aws, self.process = endpoint_url, Aws(endpoint_url), process

    @property
    def environment(self) -> dict[str, str]:
        """What AWS's clients read."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


@contextmanager
def running(which: str, folder: Path) -> Iterator[S3]:
    """One of SEAWEEDFS, MINISTACK, SINK and MEMORY, keeping its objects below `folder`. Raises ProcessError."""
    if which == MINISTACK:
        with MiniStack.start(folder / "ministack", free_port()) as emulator:
            yield _with_bucket(S3(emulator.endpoint_url, emulator.process))
        return
    if which == SINK:
        port = free_port()
        command: list[str | Path] = [sys.executable, "-m", "bench.s3_sink", str(port)]
        with Process.start(SINK, command, log_path=folder / "sink.log", ready=accepts(port)) as process:
            yield S3(f"http://{LOOPBACK}:{port}", process)
        return
    if which.startswith(MEMORY):
        port, milliseconds = free_port(), float(which.partition(AFTER)[2] or 0)
        command = [sys.executable, "-m", "bench.s3_memory", str(port), str(milliseconds / 1000)]
        with Process.start(MEMORY, command, log_path=folder / "memory.log", ready=accepts(port)) as process:
            yield _with_bucket(S3(f"http://{LOOPBACK}:{port}", process))
        return
    place = folder / "seaweedfs"
    place.mkdir(parents=True)
    configuration = place / "s3.json"
    credentials = [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}]
    identity = {"name": "bench", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    configuration.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        raise ProcessError("seaweedfs is not installed: `./dev bench` brings it.")
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    grpc_ports = {name: free_port() for name in ports}
    command = [
        weed,
        f"-logdir={place}",
        "server",
        f"-dir={place}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-volume.max=100",
        "-master.volumeSizeLimitMB=1024",
        "-filer",
        "-s3",
        f"-s3.config={configuration}",
        *(f"-{name}.localSocket={place / name}.sock" for name in ("filer", "s3")),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={port}" for name, port in grpc_ports.items()),
    ]
    endpoint_url = f"http://{LOOPBACK}:{ports['s3']}"
    log, ready = folder / "seaweedfs.log", http_answers(f"{endpoint_url}/status")
    try:
        with Process.start("seaweedfs", command, log_path=log, ready=ready, cwd=place) as process:
            yield _with_bucket(S3(endpoint_url, process))
    finally:
        for name, port in grpc_ports.items():  # it has no option for where these are, and leaves them
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108


def _with_bucket(server: S3) -> S3:
    server.aws.s3.create_bucket(Bucket=BUCKET)
    return server
