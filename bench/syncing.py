"""What it costs to make objects durable on a disk, and what other ways would cost. Writing alone: no DICOM, no network.

    ./dev bench syncing [--rounds N] [--objects N] [--folder DIR]

Each thread writes objects of 0.5 MiB into a folder of its own, as associations do, and goes on when one is durable:

    no sync                 write, rename
    new files               write, sync the data, rename, sync the folder: as shipped, while there is nothing to write over
    renamed first           write, rename, sync the data, sync the folder: one commit of the journal may do for both
    group commit            the same, but one thread syncs all files and folders that wait, then lets their threads go on
    group commit, syncfs    the same, with one syncfs() for all that wait
    recycled files          the same, but over the blocks of a file that is there already: as shipped, afterwards
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from bench import results
from bench.receive import filesystem

NEW_FILES, UNSYNCED = "new files", "no sync"
_CONTENT = os.urandom(512 * 1024)
_libc = ctypes.CDLL(None, use_errno=True)


class _GroupCommit:
    """One of the threads that wait makes all durable that wait when it begins."""

    def __init__(self, sync_all: Callable[[list[int], set[int]], None]) -> None:
        self._sync_all = sync_all
        self._changed, self._syncing = threading.Condition(), False
        self._files: list[int] = []
        self._folders: set[int] = set()
        self._gathering, self._durable = 1, 0  # the group that files join now, the last one that is on the disk

    def make_durable(self, file: int, folder: int) -> None:
        with self._changed:
            self._files.append(file)
            self._folders.add(folder)
            mine = self._gathering
            self._changed.wait_for(lambda: self._durable >= mine or not self._syncing)
            if self._durable >= mine:
                return
            self._syncing, self._gathering = True, mine + 1
            files, folders, self._files, self._folders = self._files, self._folders, [], set()
        self._sync_all(files, folders)
        with self._changed:
            self._syncing, self._durable = False, mine
            self._changed.notify_all()


def _each(files: list[int], folders: set[int]) -> None:
    for file in files:
        os.fdatasync(file)
    for folder in folders:
        os.fsync(folder)


def _whole_file_system(files: list[int], _folders: set[int]) -> None:
    if _libc.syncfs(files[0]):
        raise OSError(ctypes.get_errno(), "syncfs")


class Way:
    """One way to write an object that is durable when `write` returns."""

    def __init__(self, *, rename_first: bool = False, group: _GroupCommit | None = None, sync: bool = True) -> None:
        self._rename_first, self._group, self._sync = rename_first, group, sync

    def prepare(self, folder: int, names: range) -> None:
        """Before the clock runs."""

    def write(self, folder: int, number: int) -> None:
        file = self._open(folder, f"{number}.tmp")
        os.write(file, _CONTENT)
        if self._sync and not self._rename_first:
            os.fdatasync(file)
        os.rename(f"{number}.tmp", f"{number}.dcm", src_dir_fd=folder, dst_dir_fd=folder)
        if self._group is not None:
            self._group.make_durable(file, folder)
        elif self._sync:
            if self._rename_first:
                os.fdatasync(file)
            os.fsync(folder)
        os.close(file)

    def _open(self, folder: int, name: str) -> int:
        return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=folder)


class _Recycling(Way):
    def prepare(self, folder: int, names: range) -> None:
        for number in names:
            file = super()._open(folder, f"{number}.tmp")
            os.write(file, bytes(len(_CONTENT)))
            os.fsync(file)
            os.close(file)
        os.fsync(folder)

    def _open(self, folder: int, name: str) -> int:
        return os.open(name, os.O_WRONLY, dir_fd=folder)


def ways() -> dict[str, Way]:
    return {
        UNSYNCED: Way(sync=False),
        NEW_FILES: Way(),
        "renamed first": Way(rename_first=True),
        "group commit": Way(rename_first=True, group=_GroupCommit(_each)),
        "group commit, syncfs": Way(rename_first=True, group=_GroupCommit(_whole_file_system)),
        "recycled files": _Recycling(),
    }


def measure(way: Way, place: Path, *, threads: int, objects: int) -> float:
    """Objects a second."""
    names, folders = range(objects // threads), []

    def write_all(folder: int) -> None:
        for name in names:
            way.write(folder, name)

    try:
        for number in range(threads):
            (place / str(number)).mkdir()
            folders.append(os.open(place / str(number), os.O_RDONLY))
            way.prepare(folders[-1], names)
        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            for _ in pool.map(write_all, folders):
                pass
            return len(names) * threads / (time.perf_counter() - began)
    finally:
        for folder in folders:
            os.close(folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench syncing", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    parser.add_argument("--objects", type=int, default=800, help="in each run (800)")
    parser.add_argument("--threads", default="4,16", help="at once (4,16)")
    parser.add_argument("--folder", type=Path, default=Path(".state/bench"), help="on the disk in question (.state/bench)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = list(ways())
    conditions = {"folder": str(arguments.folder), "filesystem": filesystem(arguments.folder.resolve())}
    with results.Results("syncing", objects=arguments.objects, **conditions) as kept:
        for number in track(range(arguments.rounds), "Measuring", console=Console(stderr=True)):
            for threads in map(int, arguments.threads.split(",")):
                for at in range(len(names)):
                    name = names[(at + number) % len(names)]
                    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
                        speed = measure(ways()[name], Path(place), threads=threads, objects=arguments.objects)
                    kept.add(name, "0.5 MiB", threads, {"objects_per_s": speed})


if __name__ == "__main__":
    main()
