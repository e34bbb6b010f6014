"""What the spool asks of a file system, and the operating system's own.

A Protocol, so that the fsync model in the tests can stand in for the disk and forget at any call what was not synced.
Paths are absolute. Every method raises OSError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

Chunk = bytes | bytearray | memoryview

_CHUNKS_PER_WRITE = 1024  # IOV_MAX is at least 1024 on Linux and macOS
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class FileSystem(Protocol):
    """Files are handles (integers) while they are written, paths otherwise."""

    def make_folder(self, path: Path) -> None:
        """Make a folder whose parent exists. Raises FileExistsError."""

    def create(self, folder: Path, name: str) -> int:
        """Make a new file in a folder, open for writing. Raises FileExistsError."""

    def reuse(self, path: Path, new_path: Path) -> int:
        """Move a file, which keeps its content, and open it to be written over from its beginning."""

    def write(self, file: int, chunks: Sequence[Chunk]) -> int:
        """Write all of the chunks, and return their bytes."""

    def write_at(self, path: Path, at: int, content: bytes) -> None:
        """Write at a place of a file, which is made when it is missing. Nothing of it is durable."""

    def cut(self, file: int, size_bytes: int) -> None:
        """Make a file end here."""

    def sync_file(self, file: int) -> None:
        """Make the file's data and size durable (fdatasync). After an error nothing about the file is certain."""

    def close(self, file: int) -> None:
        """Close the file, whether or not an error is raised."""

    def sync_folder(self, path: Path) -> None:
        """Make durable which names the folder holds (fsync)."""

    def rename(self, folder: Path, name: str, new_name: str) -> None:
        """Rename what a folder holds, atomically, in the place of what may have the new name."""

    def move(self, path: Path, new_path: Path) -> None:
        """Rename a file, to another folder too, where nothing has the new name."""

    def remove_file(self, path: Path) -> None:
        """Remove a file, or do nothing where there is none."""

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""

    def names(self, path: Path, *, at_most: int | None = None) -> list[str]:
        """The names in a folder, or so many of them, in any order."""

    def size(self, path: Path) -> int:
        """The size of a file."""

    def links(self, path: Path) -> int:
        """How many names a file has."""

    def open(self, path: Path) -> IO[bytes]:
        """A file, open for reading."""

    def free_bytes(self, path: Path) -> int:
        """How much may still be written to the disk of a folder; 0 when it takes no more files."""

    def lock(self, path: Path, *, wait: bool = False) -> Callable[[], None] | None:
        """Lock a file, made when missing, until this process ends: a function that gives the lock back.

        When someone else holds it, also another thread: None, or with `wait` the lock once it is free.
        """


class LocalFileSystem:
    """The operating system's files."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=0o750)

    def create(self, folder: Path, name: str) -> int:
        return os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)

    def reuse(self, path: Path, new_path: Path) -> int:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            path.rename(new_path)
        except OSError:
            os.close(file)
            raise
        return file

    def write(self, file: int, chunks: Sequence[Chunk]) -> int:
        total = 0
        for at in range(0, len(chunks), _CHUNKS_PER_WRITE):
            some = chunks[at : at + _CHUNKS_PER_WRITE]
            wanted, written = sum(map(len, some)), os.writev(file, some)
            if written < wanted:  # a full disk, or a signal
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    rest = rest[os.write(file, rest) :]
            total += wanted
        return total

    def write_at(self, path: Path, at: int, content: bytes) -> None:
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            rest = memoryview(content)
            while rest:
                written = os.pwrite(file, rest, at)
                at, rest = at + written, rest[written:]
        finally:
            os.close(file)

    def cut(self, file: int, size_bytes: int) -> None:
        os.ftruncate(file, size_bytes)

    def sync_file(self, file: int) -> None:
        _sync_data(file)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_folder(self, path: Path) -> None:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def rename(self, folder: Path, name: str, new_name: str) -> None:
        os.rename(f"{folder}/{name}", f"{folder}/{new_name}")  # noqa: PTH104 - pathlib costs as much as the call itself

    def move(self, path: Path, new_path: Path) -> None:
        path.rename(new_path)

    def remove_file(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        path.rmdir()

    def names(self, path: Path, *, at_most: int | None = None) -> list[str]:
        with os.scandir(path) as entries:
            return [entry.name for entry in islice(entries, at_most)]

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def links(self, path: Path) -> int:
        return path.stat().st_nlink

    def open(self, path: Path) -> IO[bytes]:
        return path.open("rb", buffering=0)

    def free_bytes(self, path: Path) -> int:
        disk = os.statvfs(path)
        no_more_files = disk.f_files > 0 and disk.f_favail == 0  # some file systems do not count
        return 0 if no_more_files else disk.f_bavail * disk.f_frsize

    def lock(self, path: Path, *, wait: bool = False) -> Callable[[], None] | None:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            removed = os.fstat(file).st_nlink == 0  # by its last owner, between our two calls
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        if removed:
            os.close(file)
            return None

        def release() -> None:
            with contextlib.suppress(OSError):
                os.close(file)

        return release


def is_locked(path: Path) -> bool:
    """Whether someone holds a file's lock (`FileSystem.lock`). Makes no file where there is none. Raises OSError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


class UnsyncedFileSystem(LocalFileSystem):
    """The same without any sync: a crash of the machine loses what was acknowledged. For benchmarks."""

    def sync_file(self, file: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass
