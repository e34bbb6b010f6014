"""Listens for associations, and ends them: one thread accepts, each association has a thread of its own.

Nothing in the accept loop waits for a peer, so a silent connection cannot stop the port. Several processes may listen on one
socket that they inherited (docs/adr/0008): each leaves a new connection for a moment to siblings with fewer of their own.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from typing import Protocol

from pynetdicom import AE, _config

from receiver.dicom.association import Reception, ServedAssociation
from receiver.dicom.status import REJECTED_LOCAL_LIMIT_EXCEEDED, REJECTED_TEMPORARY_CONGESTION

_BACKLOG = 512
_CONNECTIONS_BEYOND_LIMIT = 64  # connections that may be told of the limit at a time; any more are closed at once
_PORT_FREE_WITHIN_SECONDS = 2.0  # of the start: workers whose supervisor was killed need a moment to let go of the port
_YIELD_SECONDS, _YIELDS_MAX = 0.0003, 8  # what a connection of our own makes us wait for a sibling to take the next

_log = logging.getLogger(__name__)


def open_port(host: str, port: int) -> socket.socket:
    """Listen on a port; 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + _PORT_FREE_WITHIN_SECONDS
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Acceptor(Protocol):
    """Who receives what the listener accepts."""

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> Reception:
        """An association was accepted; AE titles as on the wire. Called from its thread."""


class Listener:
    """The port. `start`, then `drain` (or `close_port`) and `end_associations`."""

    def __init__(
        self,
        acceptor: Acceptor,
        sock: socket.socket,
        *,
        shared: bool,
        ae_title: str,
        max_associations: int,
        idle_timeout_seconds: float,
        artim_timeout_seconds: float,
    ) -> None:
        """Accept on `sock`, from now on ours to close; `shared` with other processes or not."""
        # pynetdicom logs what peers send, which may name patients; its faults come to us as exceptions or PDUs.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
        _config.LOG_HANDLER_LEVEL = "none"
        self._acceptor, self._max_associations = acceptor, max_associations
        self._idle_timeout_seconds = idle_timeout_seconds
        self._ae = AE(ae_title)
        self._ae.acse_timeout = artim_timeout_seconds
        self._ae.network_timeout = idle_timeout_seconds
        self._connections: set[ServedAssociation] = set()
        self._established: set[int] = set()
        self._changed = threading.Condition()
        self._draining = self._closed = False
        sock.setblocking(False)
        self._socket, self._shared = sock, shared
        self._wake, self._woken = socket.socketpair()
        self.port = int(sock.getsockname()[1])  # also when 0 was asked for
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._connections)

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Reject new associations from now on; open ones go on."""
        self._draining = True

    def close_port(self) -> None:
        """Take no more connections, and let go of the port. May be called again."""
        self._draining = True
        if not self._closed:
            self._closed = True
            self._wake.close()
            self._thread.join()
            self._socket.close()

    def end_associations(self, deadline: float) -> None:
        """Wait for the associations until `deadline` (monotonic), close the port, and abort those that are left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._established, max(0.0, deadline - time.monotonic()))
        self.close_port()
        with self._changed:
            left = list(self._connections)
        for association in left:
            association.stop()
        for association in left:
            association.join(5)

    # What associations call, each from its own thread (receiver.dicom.association.Host).

    def admit(self) -> tuple[int, int, int] | None:
        if self._draining:
            return REJECTED_TEMPORARY_CONGESTION
        with self._changed:
            if len(self._established) >= self._max_associations:
                return REJECTED_LOCAL_LIMIT_EXCEEDED
            self._established.add(threading.get_ident())
        return None

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> Reception:
        return self._acceptor.accepted(calling_ae=calling_ae, called_ae=called_ae, peer=peer)

    def closed(self, association: ServedAssociation) -> None:
        with self._changed:
            self._established.discard(threading.get_ident())
            self._connections.discard(association)
            self._changed.notify_all()

    def _accept(self) -> None:
        with self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                if self._closed:
                    return
                if self._shared:
                    time.sleep(_YIELD_SECONDS * min(self.connections, _YIELDS_MAX))
                self._accept_one()

    def _accept_one(self) -> None:
        try:
            sock, peer = self._socket.accept()
            sock.setblocking(True)
        except BlockingIOError:  # a sibling took it
            return
        except OSError as error:  # out of file descriptors, or the peer was quicker: the port stays open
            _log.error("accept failed", extra={"error": error.strerror})
            time.sleep(0.05)
            return
        if self.connections >= self._max_associations + _CONNECTIONS_BEYOND_LIMIT:
            sock.close()
            return
        try:
            association = ServedAssociation(self._ae, sock, peer, self, idle_timeout_seconds=self._idle_timeout_seconds)
            with self._changed:
                self._connections.add(association)
            association.start()
        except (OSError, RuntimeError) as error:  # the peer is gone already, or no more threads
            _log.error("connection dropped", extra={"error": type(error).__name__})
            sock.close()
