"""One peer's connection, plain or TLS. Used by the association's thread; `wake` by any."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time

_TLS_WAKES_SECONDS = 0.5
"""How often a thread that reads over TLS looks whether it was woken."""


class Connection:
    """An accepted socket. Nothing here waits without a timeout."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.sock, self._tls = sock, tls
        self.unread = b""
        """Bytes that somebody read, and gave back, for the next `read`."""
        self._woken = threading.Event()
        self._is_secured = False
        self._send_seconds: float | None = None

    def was_woken(self) -> bool:
        """Whether `wake` was called."""
        return self._woken.is_set()

    def wake(self) -> None:
        """Let the thread that reads end its wait, now and for ever; it may still send."""
        self._woken.set()
        if not self._is_secured:  # TLS could send nothing more after it saw an end: its reader looks every _TLS_WAKES_SECONDS
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RD)  # not SSLSocket's, which takes TLS away from under the reader

    def wait_at_most(self, seconds: float) -> float:
        """Bound each wait for bytes of `sock` by `seconds`, or less where it must look whether it was woken. Returns the bound.

        A wait that ends so raises TimeoutError or BlockingIOError. Without TLS the kernel keeps the time: Python's own
        timeouts cost a poll before each read.
        """
        if self._is_secured:
            seconds = min(seconds, _TLS_WAKES_SECONDS)
            self.sock.settimeout(seconds)
        else:
            self.sock.settimeout(None)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
        return seconds

    def send_within(self, seconds: float) -> None:
        """How long `send` may wait for a peer that takes nothing."""
        self._send_seconds = seconds
        if not self._is_secured:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))

    def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError, after which nobody knows how much the peer has: the connection is of no more use."""
        if not self._is_secured:
            self.sock.sendall(data)
            return
        waits = self.sock.gettimeout()
        self.sock.settimeout(self._send_seconds)
        try:
            self.sock.sendall(data)
        finally:
            self.sock.settimeout(waits)

    def handshake(self, timeout_seconds: float) -> None:
        """Become TLS, if this is to be TLS. Raises OSError, of which ssl.SSLError and TimeoutError are kinds."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            secured = self._tls.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            self.sock = secured
            if self.was_woken():  # while it was not this socket yet
                raise ConnectionAbortedError
            secured.settimeout(timeout_seconds)
            secured.do_handshake()
            self._is_secured = True

    def read(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes. Raises OSError: TimeoutError at the deadline (monotonic), ConnectionError when woken."""
        data, self.unread = bytearray(self.unread[:count]), self.unread[count:]
        while len(data) < count:
            more = self._receive(count - len(data), deadline)
            if not more:
                raise ConnectionResetError
            data += more
        return bytes(data)

    def discard_until_closed(self, deadline: float) -> None:
        """Throw away what still comes, until the peer closes or the deadline (monotonic)."""
        with contextlib.suppress(OSError):
            while self._receive(65536, deadline):
                pass

    def _receive(self, count: int, deadline: float) -> bytes:
        while not self.was_woken():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(min(left, _TLS_WAKES_SECONDS) if self._is_secured else left)
            try:
                return self.sock.recv(count)
            except TimeoutError:
                continue
        return b""

    def close(self) -> None:
        """Close the connection, whatever its state."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: pynetdicom has shut it down already
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(0)
                self.sock.unwrap()  # tells the peer that nothing was cut off, and does not wait for its answer
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, max(1, int((seconds - whole) * 1e6)))  # zero would be no bound at all
