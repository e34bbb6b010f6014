"""`python -m tests.crash --cycles N`: kill -9 of the receiver under load, N times; the last line gives the figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from local.ministack import MiniStack
from local.processes import free_port
from tests.crash.harness import run_cycles
from tests.support.receiver import EdgeProcess


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MiniStack.start(Path(folder) / "aws", free_port()) as cloud:
        cloud.aws.s3.create_bucket(Bucket="crash")
        figures = run_cycles(EdgeProcess.prepare(cloud.aws, "crash", Path(folder) / "edge"), options.cycles, options.seed)
    sys.stdout.write(f"{figures}\n")
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
