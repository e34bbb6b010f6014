"""One peer's connection, plain or TLS. Used by the association's thread; `wake` by any."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time


class Connection:
    """An accepted socket. Nothing here waits without a timeout."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Raises OSError when the peer is gone already. The TLS handshake is not begun: that is `handshake`'s, later."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_tls = tls is not None
        self.sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if tls else sock
        self.unread = b""
        """Bytes that somebody read, and gave back, for the next `read`."""
        self._woken = threading.Event()

    def was_woken(self) -> bool:
        """Whether `wake` was called."""
        return self._woken.is_set()

    def wake(self) -> None:
        """End the wait of the thread that reads, now and for ever; it may still send."""
        self._woken.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RD)  # SSLSocket's own would take TLS away from under the reader

    def handshake(self, timeout_seconds: float) -> None:
        """Become TLS, if this is to be TLS. Raises OSError, of which ssl.SSLError and TimeoutError are kinds."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(timeout_seconds)
            self.sock.do_handshake()

    def read(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes. Raises OSError, TimeoutError at the deadline (monotonic)."""
        data, self.unread = bytearray(self.unread[:count]), self.unread[count:]
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            more = self.sock.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return bytes(data)

    def discard_until_closed(self, deadline: float) -> None:
        """Throw away what still comes, until the peer closes or the deadline (monotonic)."""
        buffer = bytearray(65536)
        with contextlib.suppress(OSError):
            while not self.was_woken() and (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if self.sock.recv_into(buffer) == 0:
                    break

    def close(self) -> None:
        """Close the connection, whatever its state."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
