"""The script that sites put beside a storage server: watch its folder, upload what is new, delete what is uploaded.

    python -m bench.watcher FOLDER PREFIX

boto3, eight uploads at once, a look at the folder every 50 ms. A file is taken once its size has not changed between two
looks, since nothing else tells the script that the server has finished it.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

from bench.s3 import BUCKET

_LOOK_SECONDS = 0.05


def main(folder: Path, prefix: str) -> None:
    client = boto3.client("s3")
    sizes: dict[str, int] = {}
    taken: set[str] = set()

    def upload(name: str) -> None:
        client.upload_file(str(folder / name), BUCKET, prefix + name)
        (folder / name).unlink()

    with ThreadPoolExecutor(8) as pool:
        while True:
            with os.scandir(folder) as found:
                now = {entry.name: entry.stat().st_size for entry in found if entry.name not in taken}
            for name, size in now.items():
                if sizes.get(name) == size and size > 0:
                    taken.add(name)
                    pool.submit(upload, name)
            sizes = now
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
