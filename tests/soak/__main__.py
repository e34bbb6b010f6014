"""`python -m tests.soak`: thousands of associations, then what the receiver holds, before and after; the last line tells."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from local.ministack import MiniStack
from local.processes import free_port
from tests.soak.harness import soak
from tests.support.receiver import EdgeProcess


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--associations", type=int, default=20_000, help="at most so many")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, MiniStack.start(Path(folder) / "aws", free_port()) as cloud:
        cloud.aws.s3.create_bucket(Bucket="soak")
        with EdgeProcess.prepare(cloud.aws, "soak", Path(folder) / "edge", workers=options.workers, log_level="ERROR") as edge:
            figures = soak(edge, warm_up=800, associations=options.associations, seconds=options.minutes * 60)
    sys.stdout.write(f"{figures}\n{'flat' if figures.good else 'NOT FLAT, or not all announced'}\n")
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
