"""A port before another port, which may be shut: refusing connections, or taking them and never answering."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType


class Gate:
    """Listens on a port of 127.0.0.1 and passes everything on to `port`; a context manager. Begins open."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._silent = False
        self._server: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]
        self._start(self._accept, self._server)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()

    def refuse(self) -> None:
        """Nothing listens, and what was connected is cut."""
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self._cut()

    def hang(self) -> None:
        """Connections are taken, and nothing is passed on; what was connected is cut."""
        self._silent = True
        self._cut()

    def open(self) -> None:
        """As at the beginning; what hung is cut."""
        self._silent = False
        self._cut()
        if self._server is None:
            self._server = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self._start(self._accept, self._server)

    def _cut(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.append(client)
            if self._silent:
                continue
            try:
                other = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets.append(other)
            self._start(self._pump, client, other)
            self._start(self._pump, other, client)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
