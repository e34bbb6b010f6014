"""`python -m tests.large --mib 2048`: one large object through the receiver; the last line tells its peak memory."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from local.ministack import MiniStack
from local.processes import free_port
from tests.large.sending import MIB, send_large
from tests.support.receiver import EdgeProcess

_MOST_BYTES = 200 * MIB


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev large", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MiniStack.start(Path(folder) / "aws", free_port()) as cloud:
        cloud.aws.s3.create_bucket(Bucket="large")
        with EdgeProcess.prepare(cloud.aws, "large", Path(folder) / "edge", workers=options.workers) as edge:
            large = send_large(edge, options.mib * MIB)
    sys.stdout.write(f"{large}\n")
    return 0 if large.peak_rss_bytes < _MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
