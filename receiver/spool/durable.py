"""What several parts of the spool do to a file system. Every function raises OSError."""

from __future__ import annotations

import contextlib
from pathlib import Path

from receiver.filesystem import FileSystem

TEMPORARY = ".tmp"


def make_if_missing(files: FileSystem, path: Path) -> None:
    """Make a folder, durably."""
    with contextlib.suppress(FileExistsError):
        files.make_folder(path)
    files.sync_folder(path.parent)  # also when it exists: whoever made it may have died before its sync


def write_file(files: FileSystem, folder: Path, name: str, content: bytes) -> None:
    """Give a file new content, whole or not at all. The caller syncs the folder."""
    temporary = name + TEMPORARY
    files.remove_file(folder / temporary)
    file = files.create(folder, temporary)
    try:
        files.write(file, [content])
        files.sync_file(file)
    finally:
        files.close(file)
    files.rename(folder, temporary, name)


def remove_tree(files: FileSystem, path: Path) -> None:
    """Remove a folder of files."""
    for name in files.names(path):
        files.remove_file(path / name)
    files.remove_folder(path)
