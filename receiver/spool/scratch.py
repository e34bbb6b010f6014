"""A file of an association's folder for what need not stay in memory. Nothing depends on it after a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from receiver.filesystem import FileSystem
from receiver.spool.durable import TEMPORARY

NAME = f"placed{TEMPORARY}"  # so the next start removes it


class Scratch:
    """Open only while it is used: thousands of associations may wait for S3."""

    def __init__(self, files: FileSystem, folder: Callable[[], Path]) -> None:
        self._files, self._folder = files, folder

    def write(self, at: int, content: bytes) -> None:
        """Write at a place of the file, which is made when it is missing. Raises OSError; then it may be called again."""
        self._files.write_at(self._folder() / NAME, at, content)

    def read(self, at: int, size_bytes: int) -> bytes:
        """What was written there. Raises OSError, also when it is not there."""
        with self._files.open(self._folder() / NAME) as file:
            file.seek(at)
            content = file.read(size_bytes)
        if len(content) < size_bytes:
            raise OSError("a temporary file of the spool was cut")
        return content
