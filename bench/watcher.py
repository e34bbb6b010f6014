"""The script that sites put beside a storage server: watch its folder, upload what is new, delete what is uploaded.

    python -m bench.watcher FOLDER PREFIX SCRIPT

A look at the folder every 50 ms. A file is taken once its size has not changed between two looks, since nothing else tells the
script that the server has finished it. The scripts: `boto3`, in this process, eight files at once; `aws s3 cp`, AWS's command
line for each file, eight at once; `aws s3 mv`, the command line for all that is there, which itself takes ten at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

from bench.s3 import BUCKET

BOTO3, COPY, MOVE = SCRIPTS = ("boto3", "aws s3 cp", "aws s3 mv")
_LOOK_SECONDS = 0.05
_AWS = Path(sys.executable).with_name("aws")


def finished(folder: Path) -> Iterator[list[str]]:
    """The names of files that are finished and were not named before, look by look."""
    sizes: dict[str, int] = {}
    taken: set[str] = set()
    while True:
        with os.scandir(folder) as found:
            now = {entry.name: entry.stat().st_size for entry in found if entry.is_file() and entry.name not in taken}
        names = [name for name, size in now.items() if sizes.get(name) == size and size > 0]
        taken.update(names)
        yield names
        sizes = now
        time.sleep(_LOOK_SECONDS)


def file_by_file(folder: Path, upload: Callable[[Path], None]) -> None:
    """Eight at once."""

    def move(path: Path) -> None:
        upload(path)
        path.unlink()

    with ThreadPoolExecutor(8) as pool:
        for names in finished(folder):
            for name in names:
                pool.submit(move, folder / name)


def all_at_once(folder: Path, target: str) -> None:
    """What is finished goes to a folder of its own, which the command line empties."""
    leaving = folder / "leaving"
    leaving.mkdir()
    for names in finished(folder):
        for name in names:
            (folder / name).rename(leaving / name)
        if names:
            _aws("mv", str(leaving), target, "--recursive")


def _aws(*arguments: str) -> None:
    """AWS's command line, which `./dev bench` brings."""
    subprocess.run([_AWS, "s3", *arguments, "--only-show-errors"], check=True)  # noqa: S603 - AWS's own program


def main(folder: Path, prefix: str, script: str) -> None:
    target = f"s3://{BUCKET}/{prefix}"
    if script == MOVE:
        all_at_once(folder, target)
    elif script == COPY:
        file_by_file(folder, lambda path: _aws("cp", str(path), target + path.name))
    else:
        client = boto3.client("s3")
        file_by_file(folder, lambda path: client.upload_file(str(path), BUCKET, prefix + path.name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
