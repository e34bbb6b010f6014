"""Listens for associations, and ends them: one thread accepts, each association has a thread of its own.

Nothing in the accept loop waits for a peer, so a silent connection cannot stop the port.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import Protocol

from pynetdicom import AE, _config

from receiver.dicom.association import Reception, ServedAssociation
from receiver.dicom.status import REJECTED_LOCAL_LIMIT_EXCEEDED, REJECTED_TEMPORARY_CONGESTION

_BACKLOG = 512
_CONNECTIONS_BEYOND_LIMIT = 64  # connections that may be told of the limit at a time; any more are closed at once

_log = logging.getLogger(__name__)


class Acceptor(Protocol):
    """Who receives what the listener accepts."""

    def accepted(self, *, calling_ae: bytes, called_ae: bytes, peer: str) -> Reception:
        """An association was accepted; AE titles as on the wire. Called from its thread."""


class Listener:
    """The port. `start`, then `stop_accepting` and `end_associations`."""

    def __init__(
        self,
        acceptor: Acceptor,
        *,
        host: str,
        port: int,
        ae_title: str,
        max_associations: int,
        idle_timeout_seconds: float,
        artim_timeout_seconds: float,
    ) -> None:
        """Bind the port. Raises OSError."""
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
        self._draining = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self.port = int(self._socket.getsockname()[1])  # also when 0 was asked for
        self._thread = threading.Thread(target=self._accept, name="listener", daemon=True)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._connections)

    def start(self) -> None:
        self._thread.start()

    def stop_accepting(self) -> None:
        """Close the port. Associations that are being opened are rejected, open ones go on."""
        self._draining = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()
        self._thread.join()

    def end_associations(self, deadline: float) -> None:
        """Wait for the associations until `deadline` (monotonic), then abort those that are left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, max(0.0, deadline - time.monotonic()))
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
        while not self._draining:
            try:
                sock, peer = self._socket.accept()
            except OSError as error:
                if not self._draining:  # out of file descriptors, or the peer was quicker: the port stays open
                    _log.error("accept failed", extra={"error": error.strerror})
                    time.sleep(0.05)
                continue
            if self.connections >= self._max_associations + _CONNECTIONS_BEYOND_LIMIT:
                sock.close()
                continue
            try:
                association = ServedAssociation(self._ae, sock, peer, self, idle_timeout_seconds=self._idle_timeout_seconds)
                with self._changed:
                    self._connections.add(association)
                association.start()
            except (OSError, RuntimeError) as error:  # the peer is gone already, or no more threads
                _log.error("connection dropped", extra={"error": type(error).__name__})
                sock.close()
