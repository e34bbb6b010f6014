"""`python -m tests.crash.dying POINT`: a receiver that kills itself, by SIGKILL, just before one call of its path.

Objects are uploaded by one worker, and only once their association is sealed, so that each point is met in the same state.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from receiver.configuration import read_settings
from receiver.filesystem import Chunk, LocalFileSystem
from receiver.logs import configure_logs
from receiver.process import StopRequest, connect_cloud
from receiver.service import Receiver

POINTS = {
    "a folder without its start facts": ("create", r"association\.json\.tmp", 1),
    "a half-written object": ("write", r"000002\.tmp", 1),
    "an object that is written and not synced": ("sync_file", r"000002\.tmp", 1),
    "an object that is not renamed": ("rename", r"000002\.tmp", 1),
    "an object that is renamed and not acknowledged": ("sync_folder", r".*-RAW-.*", 2),
    "an association that never ended": ("create", r"sequence\.tmp", 1),
    "a sequence number without a seal": ("rename", r"sealed\.json\.tmp", 1),
    "a sealed association of which nothing is uploaded": ("put", r"instances/.*", 1),
    "a sealed association that is half uploaded": ("put", r"instances/.*", 2),
    "an uploaded association without a manifest": ("create", r"part-1\.json\.tmp", 1),
    "half a manifest": ("create", r"manifest\.json\.tmp", 1),
    "a manifest that is not in S3": ("put", r"manifests/.*/1\.json", 1),
    "half a manifest in S3": ("put", r"manifests/.*/manifest\.json", 1),
    "a manifest without a message": ("send", r"", 1),
    "a message before the removal": ("rename", r".*-RAW-.*", 1),
    "a half-emptied folder": ("move", r"00000[123]-.*", 2),
    "a half-removed folder": ("remove_file", r".*\.json", 2),
}
"""Operation, what it is done to (a file's name, a key), and which of these calls."""


class Death:
    """Comes at one point."""

    def __init__(self, point: str) -> None:
        self._operation, pattern, self._left = POINTS[point]
        self._pattern = re.compile(pattern)
        self._lock = threading.Lock()

    def may_come(self, operation: str, name: str) -> None:
        if operation == self._operation and self._pattern.fullmatch(name):
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)


class DyingFiles(LocalFileSystem):
    """Real files."""

    def __init__(self, death: Death) -> None:
        self._death, self._open = death, dict[int, str]()
        self.sealed = threading.Event()

    def create(self, folder: Path, name: str) -> int:
        self._death.may_come("create", name)
        file = super().create(folder, name)
        self._open[file] = name
        return file

    def write(self, file: int, chunks: Sequence[Chunk]) -> int:
        content = b"".join(chunks)
        half = len(content) // 2
        written = super().write(file, [content[:half]])
        self._death.may_come("write", self._open[file])
        return written + super().write(file, [content[half:]])

    def sync_file(self, file: int) -> None:
        self._death.may_come("sync_file", self._open[file])
        super().sync_file(file)

    def sync_folder(self, path: Path) -> None:
        self._death.may_come("sync_folder", path.name)
        super().sync_folder(path)

    def rename(self, folder: Path, name: str, new_name: str) -> None:
        self._death.may_come("rename", name)
        super().rename(folder, name, new_name)
        if new_name == "sealed.json":
            self.sealed.set()

    def move(self, path: Path, new_path: Path) -> None:
        self._death.may_come("move", path.name)
        super().move(path, new_path)

    def remove_file(self, path: Path) -> None:
        self._death.may_come("remove_file", path.name)
        super().remove_file(path)


class DyingCloud:
    """`receiver.cloud.Cloud` on AWS."""

    def __init__(self, death: Death, files: DyingFiles) -> None:
        self._death, self._files, self._cloud = death, files, connect_cloud(read_settings())

    def put_bytes(self, key: str, content: bytes) -> None:
        self._files.sealed.wait()
        self._death.may_come("put", key)
        self._cloud.put_bytes(key, content)

    def put_file(self, key: str, open_file: Callable[[], IO[bytes]], size_bytes: int) -> None:
        self._files.sealed.wait()
        self._death.may_come("put", key)
        self._cloud.put_file(key, open_file, size_bytes)

    def replace(self, key: str, content: bytes) -> datetime:
        return self._cloud.replace(key, content)

    def send_message(self, body: str) -> None:
        self._death.may_come("send", "")
        self._cloud.send_message(body)


def main() -> None:
    death, stop = Death(sys.argv[1]), StopRequest()
    files = DyingFiles(death)
    configure_logs("INFO")
    receiver = Receiver(read_settings(), DyingCloud(death, files), files)
    receiver.start()
    sys.stdout.write(json.dumps({"event": "ready", "port": receiver.port, "health_port": -1}) + "\n")
    sys.stdout.flush()
    stop.wait()


if __name__ == "__main__":
    main()
