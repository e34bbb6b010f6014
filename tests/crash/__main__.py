"""`python -m tests.crash --cycles N`: kill -9 of the receiver under load, N times; the last line gives the figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from local.ministack import MiniStack
from local.processes import free_port
from tests.crash.harness import Figures, run_cycles
from tests.support.receiver import EdgeProcess

_BATCH = 20  # cycles between two comparisons, each with a bucket and a spool of its own: the emulator keeps objects in memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev crash", description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="worker processes; 0 for 4 and 1 by turns")
    options = parser.parse_args()
    figures, begin = Figures(), time.monotonic()
    for batch, done in enumerate(range(0, options.cycles, _BATCH)):
        with tempfile.TemporaryDirectory() as folder, MiniStack.start(Path(folder) / "aws", free_port()) as cloud:
            cloud.aws.s3.create_bucket(Bucket="crash")
            edge = EdgeProcess.prepare(cloud.aws, "crash", Path(folder) / "edge")
            workers = options.workers or (4 if batch % 3 != 2 else 1)
            figures += run_cycles(edge, min(_BATCH, options.cycles - done), seed=options.seed + batch, workers=workers)
        sys.stdout.write(f"after {time.monotonic() - begin:.0f} s: {figures}\n")
        sys.stdout.flush()
        if not figures.good:
            break
    sys.stdout.write(f"{figures}\n")
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
