"""A disk that forgets: a file system in memory that, at any call, can crash and lose what was not synced.

The page cache survives kill -9, so no test with real processes can show that an fsync is missing. Here a crash keeps of each
folder either the names of its last `sync_folder` or the present ones, and of each file either the bytes of its last
`sync_file`, the present ones, or some in between: a `Chooser` says which. One `sync_*` call in the code may be made to do
nothing, to prove that its absence is noticed.
"""

from __future__ import annotations

import errno
import io
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from receiver.filesystem import Chunk

Site = tuple[tuple[str, int], ...]
"""A statement of the spool's code that syncs: (function, line), and for the helper that writes a whole file its caller's."""

Kept = TypeVar("Kept")


class CrashError(BaseException):
    """The machine stopped. Not an Exception: no handler may go on after it."""


@dataclass(eq=False)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False)
class _Folder:
    names: dict[str, _File | _Folder] = field(default_factory=dict)
    synced: dict[str, _File | _Folder] = field(default_factory=dict)


class Chooser:
    """What a crash keeps. `lose` and `keep` are the extremes; `mixed` decides by a seed, for each file and folder."""

    def __init__(self, seed: int | None, *, keep_all: bool = False) -> None:
        self._random = random.Random(seed) if seed is not None else None
        self.keep_all = keep_all

    def of(self, synced: Kept, present: Kept) -> Kept:
        keep = self.keep_all if self._random is None else self._random.random() < 0.5
        return present if keep else synced

    def torn(self, synced: bytes, present: bytes) -> bytes:
        if self._random is not None and self._random.random() < 0.3:
            at = self._random.randint(0, max(len(synced), len(present)))
            return present[:at] + synced[at:]  # what is written over is written in any order
        return self.of(synced, present)


class ForgetfulFileSystem:
    """`receiver.filesystem.FileSystem`, as one process sees it. `crashed` gives what the next process finds.

    `crash_at` and `fail_at` count the calls that change something, from 0; the call so numbered has no effect.
    """

    def __init__(self, root: _Folder | None = None) -> None:
        self._root = root or _Folder()
        self._open: dict[int, tuple[_File, int]] = {}  # where the next bytes go
        self._locked: set[Path] = set()
        self.calls = 0
        self.crash_at = self.fail_at = -1
        self.disabled_site: Site | None = None
        self.sites: set[Site] = set()
        self._dead = False

    def crashed(self, chooser: Chooser) -> ForgetfulFileSystem:
        """The disk after a crash now."""
        after = ForgetfulFileSystem(_survivors(self._root, chooser, {}))
        after.disabled_site = self.disabled_site
        return after

    def make_folder(self, path: Path) -> None:
        self._count()
        parent = self._folder(path.parent)
        if path.name in parent.names:
            raise FileExistsError(errno.EEXIST, "exists")
        parent.names[path.name] = _Folder()

    def create(self, folder: Path, name: str) -> int:
        self._count()
        parent = self._folder(folder)
        if name in parent.names:
            raise FileExistsError(errno.EEXIST, "exists")
        file = _File()
        parent.names[name] = file
        return self._opened(file)

    def reuse(self, path: Path, new_path: Path) -> int:
        file = self._file(path)
        self.move(path, new_path)
        return self._opened(file)

    def _opened(self, file: _File) -> int:
        handle = len(self._open) + 3
        self._open[handle] = file, 0
        return handle

    def write(self, file: int, chunks: Sequence[Chunk]) -> int:
        self._count()
        content = b"".join(chunks)
        opened, at = self._open[file]
        opened.data[at : at + len(content)] = content
        self._open[file] = opened, at + len(content)
        return len(content)

    def write_at(self, path: Path, at: int, content: bytes) -> None:
        self._count()
        file = self._folder(path.parent).names.setdefault(path.name, _File())
        assert isinstance(file, _File)
        file.data[at : at + len(content)] = content

    def cut(self, file: int, size_bytes: int) -> None:
        self._count()
        del self._open[file][0].data[size_bytes:]

    def sync_file(self, file: int) -> None:
        self._count()
        if self._enabled():
            opened, _ = self._open[file]
            opened.synced = bytes(opened.data)

    def close(self, file: int) -> None:
        self._count()
        assert file in self._open

    def sync_folder(self, path: Path) -> None:
        self._count()
        if self._enabled():
            folder = self._folder(path)
            folder.synced = dict(folder.names)

    def rename(self, folder: Path, name: str, new_name: str) -> None:
        self._count()
        names = self._folder(folder).names
        if name not in names:
            raise FileNotFoundError(errno.ENOENT, "missing")
        names[new_name] = names.pop(name)

    def move(self, path: Path, new_path: Path) -> None:
        self._count()
        file = self._file(path)
        del self._folder(path.parent).names[path.name]
        assert new_path.name not in self._folder(new_path.parent).names
        self._folder(new_path.parent).names[new_path.name] = file

    def remove_file(self, path: Path) -> None:
        self._count()
        self._folder(path.parent).names.pop(path.name, None)

    def remove_folder(self, path: Path) -> None:
        self._count()
        if self._folder(path).names:
            raise OSError(errno.ENOTEMPTY, "not empty")
        del self._folder(path.parent).names[path.name]

    def names(self, path: Path, *, at_most: int | None = None) -> list[str]:
        self._alive()
        return sorted(self._folder(path).names, reverse=True)[:at_most]  # an order that no code should rely upon

    def size(self, path: Path) -> int:
        return len(self._file(path).data)

    def links(self, path: Path) -> int:
        return _links(self._root, self._file(path))

    def free_bytes(self, path: Path) -> int:
        return 10**12

    def open(self, path: Path) -> IO[bytes]:
        return io.BytesIO(bytes(self._file(path).data))

    def lock(self, path: Path, *, wait: bool = False) -> Callable[[], None] | None:
        self._alive()
        if path in self._locked:
            assert not wait, "would wait for ever: the model has one thread"
            return None
        self._folder(path.parent).names.setdefault(path.name, _File())
        self._locked.add(path)
        return lambda: self._locked.discard(path)

    def tree(self) -> list[str]:
        """Every path, for assertions."""
        return sorted(_paths(self._root, ""))

    def _alive(self) -> None:
        if self._dead:
            raise CrashError

    def _count(self) -> None:
        self._alive()
        number, self.calls = self.calls, self.calls + 1
        if number == self.crash_at:
            self._dead = True
            raise CrashError
        if number == self.fail_at:
            raise OSError(errno.EIO, "the disk failed")

    def _enabled(self) -> bool:
        frame = sys._getframe(2)
        caller = frame.f_back
        site: Site = ((frame.f_code.co_name, frame.f_lineno),)
        if frame.f_code.co_name == "write_file" and caller is not None:
            site += ((caller.f_code.co_name, caller.f_lineno),)
        elif frame.f_code.co_name == "sync" and caller is not None:  # AssociationFolder.sync, for its own users
            site = ((caller.f_code.co_name, caller.f_lineno),)
        self.sites.add(site)
        return site != self.disabled_site

    def _folder(self, path: Path) -> _Folder:
        here: _File | _Folder | None = self._root
        for name in path.parts[1:]:
            here = here.names.get(name) if isinstance(here, _Folder) else None
        if not isinstance(here, _Folder):
            raise FileNotFoundError(errno.ENOENT, "missing")
        return here

    def _file(self, path: Path) -> _File:
        self._alive()
        file = self._folder(path.parent).names.get(path.name)
        if not isinstance(file, _File):
            raise FileNotFoundError(errno.ENOENT, "missing")
        return file


def _survivors(folder: _Folder, chooser: Chooser, survivor: dict[int, _File | _Folder]) -> _Folder:
    """The folder after a crash. After kill -9 (`keep_all`) all is there, and what was not synced may still be lost later.

    `survivor`, by `id`: what becomes of what more than one folder may have, since a file was moved.
    """
    for entry in (*folder.names.values(), *folder.synced.values()):
        if id(entry) in survivor:
            continue
        if isinstance(entry, _Folder):
            survivor[id(entry)] = _survivors(entry, chooser, survivor)
        else:
            data = chooser.torn(entry.synced, bytes(entry.data))
            survivor[id(entry)] = _File(bytearray(data), entry.synced if chooser.keep_all else data)
    names = {name: survivor[id(entry)] for name, entry in chooser.of(folder.synced, folder.names).items()}
    if not chooser.keep_all:
        return _Folder(names, dict(names))
    return _Folder(names, {name: survivor[id(entry)] for name, entry in folder.synced.items()})


def _links(folder: _Folder, file: _File) -> int:
    return sum(entry is file if isinstance(entry, _File) else _links(entry, file) for entry in folder.names.values())


def _paths(folder: _Folder, prefix: str) -> list[str]:
    paths = []
    for name, entry in folder.names.items():
        paths.append(f"{prefix}/{name}")
        if isinstance(entry, _Folder):
            paths += _paths(entry, f"{prefix}/{name}")
    return paths
