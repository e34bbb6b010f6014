"""What several parts of the spool do to a file system. Every function raises OSError."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from receiver.filesystem import FileSystem

TEMPORARY = ".tmp"

_PIECES_AT_ONCE = 100
_NAMES_AT_ONCE = 1000


def make_if_missing(files: FileSystem, path: Path) -> None:
    """Make a folder, durably."""
    with contextlib.suppress(FileExistsError):
        files.make_folder(path)
    files.sync_folder(path.parent)  # also when it exists: whoever made it may have died before its sync


def write_file(files: FileSystem, folder: Path, name: str, content: bytes | Iterable[bytes]) -> None:
    """Give a file new content, of pieces or not, whole or not at all. The caller syncs the folder.

    What `content` raises is raised, and the file stays as it was.
    """
    pieces = iter([content] if isinstance(content, bytes) else content)
    temporary = name + TEMPORARY
    files.remove_file(folder / temporary)
    file = files.create(folder, temporary)
    try:
        while some := list(islice(pieces, _PIECES_AT_ONCE)):
            files.write(file, some)
        files.sync_file(file)
    finally:
        files.close(file)
    files.rename(folder, temporary, name)


def remove_tree(files: FileSystem, path: Path, *, keep: Callable[[Path], None] = lambda _: None) -> None:
    """Remove a folder of files, of which `keep` may move some elsewhere."""
    while names := files.names(path, at_most=_NAMES_AT_ONCE):
        for name in names:
            keep(path / name)
            files.remove_file(path / name)
    files.remove_folder(path)
