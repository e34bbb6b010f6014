"""A proxy that records what goes over the wire: the data set of every C-STORE-RQ, byte for byte, and how it was answered.

DCMTK's senders re-encode what they send, so a stored object is compared with the wire, not with the file.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

P_DATA_TF, A_ASSOCIATE_AC = 4, 2
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001


@dataclass
class Stored:
    """One C-STORE as the wire saw it; `status` is None while it was not answered."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes
    status: int | None = None


@dataclass
class _Association:
    syntaxes: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, Stored] = field(default_factory=dict)


class RecordingProxy:
    """Listens on a port of 127.0.0.1 and passes everything on to `port`; a context manager."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.stored: list[Stored] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> RecordingProxy:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._sockets:
            connection.close()
        for thread in self._threads:
            thread.join(timeout=10)

    @property
    def acknowledged(self) -> list[Stored]:
        """What was answered 0x0000."""
        return [one for one in self.stored if one.status == 0]

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it is gone, which its own client would see as well
                client.close()
                continue
            self._sockets += [client, server]
            association = _Association()
            self._start(self._pump, client, server, _Pdus(partial(self._from_client, association)))
            self._start(self._pump, server, client, _Pdus(partial(self._from_server, association)))

    def _pump(self, source: socket.socket, sink: socket.socket, pdus: _Pdus) -> None:
        try:
            while data := source.recv(1 << 18):
                pdus.feed(data)  # recorded first: an acknowledgement that the sender saw is one that the record has
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one side is gone: so is the other, then
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def _from_client(self, association: _Association, kind: int, message: _Message) -> None:
        command = message.command
        if kind == P_DATA_TF and command.get(0x0100) == struct.pack("<H", C_STORE_RQ):
            stored = Stored(
                _text(command[0x0002]), _text(command[0x1000]), association.syntaxes[message.context_id], message.data_set
            )
            with self._lock:
                association.waiting[struct.unpack("<H", command[0x0110])[0]] = stored
                self.stored.append(stored)

    def _from_server(self, association: _Association, kind: int, message: _Message) -> None:
        if kind == A_ASSOCIATE_AC:
            association.syntaxes.update(message.syntaxes)
        command = message.command
        if kind == P_DATA_TF and command.get(0x0100) == struct.pack("<H", C_STORE_RSP):
            with self._lock:
                answered = association.waiting.pop(struct.unpack("<H", command[0x0120])[0])
                answered.status = struct.unpack("<H", command[0x0900])[0]


@dataclass
class _Message:
    context_id: int = 0
    command: dict[int, bytes] = field(default_factory=dict)
    data_set: bytes = b""
    syntaxes: dict[int, str] = field(default_factory=dict)


class _Pdus:
    """Cuts a stream into PDUs, joins their PDVs, and hands on each whole message (command with its data set)."""

    def __init__(self, on_message: Callable[[int, _Message], None]) -> None:
        self._on_message = on_message
        self._buffer = bytearray()
        self._command = bytearray()
        self._data = bytearray()
        self._elements: dict[int, bytes] = {}

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 6:
            kind, length = struct.unpack_from(">BxI", self._buffer)
            if len(self._buffer) < 6 + length:
                return
            body = bytes(self._buffer[6 : 6 + length])
            del self._buffer[: 6 + length]
            if kind == P_DATA_TF:
                self._p_data(body)
            elif kind == A_ASSOCIATE_AC:
                self._on_message(kind, _Message(syntaxes=_accepted_syntaxes(body)))

    def _p_data(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            length, context_id, control = struct.unpack_from(">IBB", body, at)
            fragment = body[at + 6 : at + 4 + length]
            at += 4 + length
            if control & 1:
                self._command += fragment
                if control & 2:
                    self._elements = _command_elements(bytes(self._command))
                    self._command.clear()
                    if self._elements[0x0800] == b"\x01\x01":  # no data set follows
                        self._on_message(P_DATA_TF, _Message(context_id, self._elements))
            else:
                self._data += fragment
                if control & 2:
                    self._on_message(P_DATA_TF, _Message(context_id, self._elements, bytes(self._data)))
                    self._data.clear()


def _command_elements(command: bytes) -> dict[int, bytes]:
    elements, at = {}, 0
    while at < len(command):
        _, element, length = struct.unpack_from("<HHI", command, at)
        elements[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return elements


def _accepted_syntaxes(body: bytes) -> dict[int, str]:
    syntaxes, at = {}, 68
    while at < len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        if kind == 0x21:
            sub = struct.unpack_from(">H", body, at + 10)[0]
            syntaxes[body[at + 4]] = _text(body[at + 12 : at + 12 + sub])
        at += 4 + length
    return syntaxes


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0 ").decode("latin-1")
