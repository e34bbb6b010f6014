"""A line to a server that can go silent, or be slow: packets that are dropped, as far as the ends can tell."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from local.processes import LOOPBACK


class Line:
    """Forwards to a port of this machine. What was open or was opened while it was silent stays silent for ever."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.bytes_per_second = 0
        """Of each connection, from the client; 0 is no limit."""
        self.bytes_sent = 0
        """By the clients."""
        self.silent = False
        self.silent_at_bytes = -1
        """When the clients have sent so many, the line goes silent by itself; -1 for never."""
        self.went_silent = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # or the kernel holds megabytes for both
        self._server.bind((LOOPBACK, 0))
        self._server.listen()
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def heal(self) -> None:
        """New connections get through from now on."""
        self.silent, self.silent_at_bytes = False, -1

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.append(client)
            if self.silent:
                continue
            server = socket.create_connection((LOOPBACK, self._to_port))
            with self._lock:
                self._sockets.append(server)
            dead = threading.Event()
            for source, target, counted in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, dead, counted), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, dead: threading.Event, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if counted:
                    with self._lock:
                        self.bytes_sent += len(data)
                        self.silent = self.silent or 0 <= self.silent_at_bytes <= self.bytes_sent
                if self.silent or dead.is_set():
                    dead.set()
                    self.went_silent.set()
                    return
                if counted and self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
