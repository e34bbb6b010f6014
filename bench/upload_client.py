"""Uploads objects with one client library, in a process of its own whose CPU time is the client's.

    python -m bench.upload_client CLIENT ENDPOINT SIZE_BYTES COUNT CONCURRENCY PREFIX    prints one line of JSON

Every client uploads from a file, as a spool's is, and sends checksums that S3 verifies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.s3 import BUCKET
from local.aws import REGION, Aws
from receiver.aws import AwsCloud

OURS, BOTO3, TRANSFER, CRT = "ours (obstore, boto3 for parts)", "boto3 put_object", "boto3 upload_file", "awscrt S3Client"
CLIENTS = (OURS, CRT, BOTO3, TRANSFER)

Put = Callable[[str, Path], None]


def _ours(_endpoint: str, concurrency: int) -> Put:
    cloud = AwsCloud(bucket=BUCKET, queue_url="http://127.0.0.1:9/queue", connections=concurrency)
    return lambda key, path: cloud.put_file(key, lambda: path.open("rb"), path.stat().st_size)


def _boto3(endpoint: str, _concurrency: int) -> Put:
    client = Aws(endpoint).s3

    def put(key: str, path: Path) -> None:
        body = path.read_bytes()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        client.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*", ChecksumSHA256=digest)

    return put


def _transfer(endpoint: str, _concurrency: int) -> Put:
    client = Aws(endpoint).s3
    return lambda key, path: client.upload_file(str(path), BUCKET, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"})


def _crt(endpoint: str, _concurrency: int) -> Put:
    from awscrt import auth, http, s3  # noqa: PLC0415 - one client a process
    from awscrt import io as crt_io  # noqa: PLC0415

    host = endpoint.removeprefix("http://")
    provider = auth.AwsCredentialsProvider.new_static(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    bootstrap = crt_io.ClientBootstrap(crt_io.EventLoopGroup(), crt_io.DefaultHostResolver(crt_io.EventLoopGroup()))
    client = s3.S3Client(
        bootstrap=bootstrap, region=REGION, tls_mode=s3.S3RequestTlsMode.DISABLED, credential_provider=provider
    )
    checksum = s3.S3ChecksumConfig(algorithm=s3.S3ChecksumAlgorithm.SHA256, location=s3.S3ChecksumLocation.TRAILER)

    def put(key: str, path: Path) -> None:
        headers = http.HttpHeaders([("Host", host), ("Content-Length", str(path.stat().st_size))])
        client.make_request(
            type=s3.S3RequestType.PUT_OBJECT,
            request=http.HttpRequest("PUT", f"/{BUCKET}/{key}", headers),
            send_filepath=str(path),
            checksum_config=checksum,
            operation_name="PutObject",
        ).finished_future.result(120)

    return put


_MAKERS = dict(zip(CLIENTS, (_ours, _crt, _boto3, _transfer), strict=True))


def run(client: str, endpoint: str, *, size_bytes: int, count: int, concurrency: int, prefix: str) -> dict[str, float]:
    """Upload `count` objects; MiB/s, objects/s and the CPU time of this process for each."""
    put = _MAKERS[client](endpoint, concurrency)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(random.Random(1).randbytes(min(size_bytes, 2**20)) * max(1, size_bytes // 2**20))
        file.flush()
        path = Path(file.name)
        put(f"{prefix}/warm-up", path)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(lambda number: put(f"{prefix}/{number}", path), range(count)))
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "objects": count,
        "objects_per_s": count / seconds,
        "mib_per_s": count * size_bytes / 2**20 / seconds,
        "cpu_ms_per_object": 1e3 * cpu / count,
        "peak_mib": after.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    _client, _endpoint, _size, _count, _concurrency, _prefix = sys.argv[1:7]
    json.dump(
        run(_client, _endpoint, size_bytes=int(_size), count=int(_count), concurrency=int(_concurrency), prefix=_prefix),
        sys.stdout,
    )
