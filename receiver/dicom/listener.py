"""Listens for associations, and ends them: one thread accepts, each association has a thread of its own.

Nothing in the accept loop waits for a peer, so a silent connection cannot stop the port. Connections on which no association
is open (silent ones, rejected ones, those that do not close) have places of their own, and the oldest of them makes way for a
new one: they cannot keep an association out. Several processes may listen on one socket that they inherited (docs/adr/0008):
each leaves a new connection for a moment to siblings with fewer of their own.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from pynetdicom import AE, _config

from receiver.dicom.admission import Admission
from receiver.dicom.connection import Connection
from receiver.dicom.host import Timeouts
from receiver.dicom.negotiation import Negotiation
from receiver.dicom.reports import CommitmentProvider
from receiver.dicom.visitor import Acceptor, FrontDesk, Visitor

_BACKLOG = 512
_WITHOUT_ASSOCIATION_MAX = 256
"""Connections without an association; one more ends the oldest."""
_CLOSING_MAX = 256
"""Connections that were told to end and have not yet; any more are closed at once."""
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


class Port(NamedTuple):
    """A socket that listens, and how to speak TLS on it."""

    sock: socket.socket
    tls: ssl.SSLContext | None


class Listener:
    """The ports. `start`, then `drain` (or `close_ports`) and `end_associations`."""

    def __init__(
        self,
        acceptor: Acceptor,
        admission: Admission,
        commitments: CommitmentProvider | None,
        ports: Sequence[Port],
        *,
        shared: bool,
        ae_title: str,
        timeouts: Timeouts,
        preferred_transfer_syntaxes: Sequence[str],
    ) -> None:
        """Accept on `ports`, from now on ours to close; `shared` with other processes or not."""
        # pynetdicom logs what peers send, which may name patients; its faults come to us as exceptions or PDUs.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
        _config.LOG_HANDLER_LEVEL = "none"
        self._desk = FrontDesk(
            ae=AE(ae_title),
            acceptor=acceptor,
            admission=admission,
            negotiation=Negotiation(preferred_transfer_syntaxes, commits=commitments is not None),
            timeouts=timeouts,
            commitments=commitments,
        )
        self._visitors: dict[Visitor, None] = {}  # oldest first
        self._changed = threading.Condition()
        self._closed = False
        for port in ports:
            port.sock.setblocking(False)
        self._ports, self._shared = ports, shared
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._visitors)

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Reject new associations from now on; open ones go on."""
        self._desk.drain()

    def close_ports(self) -> None:
        """Take no more connections, and let go of the ports. May be called again."""
        self._desk.drain()
        if not self._closed:
            self._closed = True
            self._wake.close()
            self._thread.join()
            for port in self._ports:
                port.sock.close()

    def end_associations(self, deadline: float) -> None:
        """Wait for the associations until `deadline` (monotonic), close the ports, and abort those that are left."""
        with self._changed:
            self._changed.wait_for(
                lambda: not any(visitor.has_association for visitor in self._visitors), max(0.0, deadline - time.monotonic())
            )
        self.close_ports()
        with self._changed:
            left = list(self._visitors)
        for visitor in left:
            visitor.stop()
        for visitor in left:
            visitor.join(5)
            if visitor.is_alive():
                _log.error("a connection's thread did not end", extra={"peer": visitor.peer})
        if not self.connections:
            self._desk.admission.close()

    def _accept(self) -> None:
        with self._woken, selectors.DefaultSelector() as selector:
            for port in self._ports:
                selector.register(port.sock, selectors.EVENT_READ, port)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = selector.select()
                if self._closed:
                    return
                if self._shared:
                    time.sleep(_YIELD_SECONDS * min(self.connections, _YIELDS_MAX))
                for key, _ in ready:
                    self._accept_one(key.data)

    def _accept_one(self, port: Port) -> None:
        try:
            sock, peer = port.sock.accept()
            sock.setblocking(True)
        except BlockingIOError:  # a sibling took it
            return
        except OSError as error:  # out of file descriptors, or the peer was quicker: the port stays open
            _log.error("accept failed", extra={"error": error.strerror})
            time.sleep(0.05)
            return
        if not self._is_place_made():
            sock.close()
            return
        visitor = Visitor(self._desk, Connection(sock, port.tls), peer, self._visitor_changed)
        with self._changed:
            self._visitors[visitor] = None
        try:
            visitor.start()
        except RuntimeError as error:  # no more threads
            _log.error("connection dropped", extra={"error": str(error)})
            visitor.close()

    def _visitor_changed(self, visitor: Visitor) -> None:
        with self._changed:
            if visitor.closed:
                del self._visitors[visitor]
            self._changed.notify_all()

    def _is_place_made(self) -> bool:
        """Whether there is a place for one more connection, after ending one that does nothing if need be."""
        with self._changed:
            idle = [visitor for visitor in self._visitors if not visitor.has_association]
        if len(idle) >= _WITHOUT_ASSOCIATION_MAX:
            idle[len(idle) - _WITHOUT_ASSOCIATION_MAX].stop()
        return len(idle) < _WITHOUT_ASSOCIATION_MAX + _CLOSING_MAX
