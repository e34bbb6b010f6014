"""The state folder of one local stack: who owns it, which ports it has, and where its parts are found.

Invariants:
- One `up` at a time owns the folder, by a lock that the kernel drops with the process.
- `endpoints.json` is there only while the stack is ready, and is whole whenever it is there.
- A part gets the port that it had the last time, as long as that is free, so that addresses stay the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local.processes import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DICOM_PORT = 11112
"""The port that IANA registered for DICOM, and the default of `up`."""


class StateError(Exception):
    """The state folder or a port cannot be used. The text says what to do."""


class StateFolder:
    """A state folder that this process owns, from `owned` until its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._endpoints = path / "endpoints.json"
        self._ports = path / "ports.json"

    @classmethod
    @contextmanager
    def owned(cls, path: Path) -> Iterator[StateFolder]:
        """Own the folder, made when it is missing. Raises StateError when another `up` does."""
        path.mkdir(parents=True, exist_ok=True)
        with (path / "up.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"Another `ahi-ingest up` runs on {path}. End it with Ctrl-C, or choose another folder with --state."
                ) from None
            folder = cls(path.resolve())
            folder.withdraw()
            try:
                yield folder
            finally:
                folder.withdraw()

    def publish(self, endpoints: Mapping[str, Any]) -> None:
        """Write `endpoints.json`: the stack is ready."""
        _write_whole(self._endpoints, endpoints)

    def withdraw(self) -> None:
        """Remove `endpoints.json`: the stack is not ready."""
        self._endpoints.unlink(missing_ok=True)

    def ports(self, names: tuple[str, ...], *, dicom_port: int | None) -> dict[str, int]:
        """A port for each name and for `dicom`: `dicom_port` if given, otherwise the remembered one, 11112 or a free one.

        Raises StateError when `dicom_port` is taken.
        """
        remembered: dict[str, int] = json.loads(self._ports.read_text()) if self._ports.exists() else {}
        if dicom_port is not None and not _is_free(dicom_port):
            raise StateError(
                f"Port {dicom_port} is taken. Give another with --dicom-port, or end the program that listens on it."
            )
        wished = {**remembered, "dicom": dicom_port or remembered.get("dicom", DICOM_PORT)}
        ports: dict[str, int] = {}
        for name in ("dicom", *names):
            port = wished.get(name)
            ports[name] = port if port and port not in ports.values() and _is_free(port) else free_port()
        _write_whole(self._ports, ports)
        return ports


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers bind: connections of a server that was killed may linger, and do not matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _write_whole(path: Path, document: Mapping[str, Any]) -> None:
    """Write beside the name and rename; readable by the owner alone, since it may hold a password."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    temporary.rename(path)
