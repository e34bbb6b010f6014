"""Sends DICOM files over C-STORE, each data set's bytes exactly as they are in the file, whatever class and syntax it has.

For tools and tests: the receiver itself only receives. Each (SOP class, transfer syntax) pair is a presentation context of
its own, so that the peer has nothing to choose; 128 fit into one association (PS3.8 9.3.2.2), so files are grouped into as
many associations as their pairs need, one after another. An object is read and sent in chunks, whatever its size.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from receiver.dicom import pdu
from receiver.dicom.client import CONTEXT_RESULTS, NotAssociatedError, associate, release, response_status
from receiver.dicom.items import MalformedPduError
from receiver.part10 import Head, Part10Error, read_head

CONTEXTS_PER_ASSOCIATION = 128
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file. `status` is the response's (PS3.4 B.2.3), None when there was none; then `reason` says why."""

    path: Path
    status: int | None
    reason: str

    @property
    def stored(self) -> bool:
        """Whether the peer says that it keeps the object: success or one of the warnings Bxxx."""
        return self.status is not None and (self.status == 0x0000 or self.status >> 12 == 0xB)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    head: Head

    @property
    def pair(self) -> tuple[bytes, bytes]:
        return self.head.sop_class_uid.encode("latin-1"), self.head.transfer_syntax_uid.encode("latin-1")


def send(
    paths: Iterable[Path],
    *,
    host: str,
    port: int,
    calling_ae: str = "AHI_SEND",
    called_ae: str = "ANY-SCP",
    max_pdu: int = pdu.MAX_PDU_BYTES,
    timeout_seconds: float = 60,
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> Iterator[SendResult]:
    """Send every file and yield its result, the files that cannot be sent at all first.

    `on_bytes` is called with the number of data set bytes whenever some have left. `timeout_seconds` bounds the connect
    and each wait for the peer. Nothing is raised for a file, a refusal or a lost connection: the results say so.
    Raises ValueError for AE titles that are not 1 to 16 characters of Latin-1.
    """
    connection = _Connection(host, port, _ae(called_ae), _ae(calling_ae), max_pdu, timeout_seconds, on_bytes)
    groups: list[list[_File]] = []
    group_of: dict[tuple[bytes, bytes], int] = {}
    for path in paths:
        try:
            with path.open("rb") as opened:
                file = _File(path, read_head(opened))
        except (OSError, Part10Error) as error:
            yield SendResult(path, None, f"cannot be sent: {_plain(error)}")
            continue
        number = group_of.setdefault(file.pair, len(group_of) // CONTEXTS_PER_ASSOCIATION)
        if number == len(groups):
            groups.append([])
        groups[number].append(file)
    for group in groups:
        yield from connection.send_group(group)


@dataclass(slots=True)
class _Connection:
    """One association after another with one peer."""

    host: str
    port: int
    called_ae: bytes
    calling_ae: bytes
    max_pdu: int
    timeout_seconds: float
    on_bytes: Callable[[int], None]

    def send_group(self, files: list[_File]) -> Iterator[SendResult]:
        """Send files whose pairs fit into one association; after a lost connection the rest goes over a new one."""
        contexts = {pair: 2 * number + 1 for number, pair in enumerate(dict.fromkeys(file.pair for file in files))}
        waiting = iter(files)
        for first in waiting:
            try:
                with socket.create_connection((self.host, self.port), self.timeout_seconds) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    results, pdu_bytes = self._associate(sock, contexts)
                    yield from self._send_over(
                        sock, first=first, waiting=waiting, contexts=contexts, results=results, pdu_bytes=pdu_bytes
                    )
            except (NotAssociatedError, OSError, MalformedPduError) as error:
                for file in (first, *waiting):
                    yield SendResult(file.path, None, f"not sent: {_plain(error)}")

    def _send_over(
        self,
        sock: socket.socket,
        *,
        first: _File,
        waiting: Iterator[_File],
        contexts: dict[tuple[bytes, bytes], int],
        results: dict[int, pdu.ContextResult],
        pdu_bytes: int,
    ) -> Iterator[SendResult]:
        """Send until the files or the connection end. The caller goes on with what is left of `waiting`."""
        file: _File | None = first
        message_id = 0
        while file is not None:
            context_id = contexts[file.pair]
            answer = results.get(context_id)
            if answer is None or answer.result != 0:
                why = CONTEXT_RESULTS.get(answer.result, f"result {answer.result}") if answer else "no answer to its context"
                yield SendResult(file.path, None, f"refused by the peer: {why}")
            else:
                message_id = message_id % 0xFFFF + 1
                try:
                    status = self._store(sock, file, context_id, message_id, pdu_bytes)
                except (OSError, MalformedPduError) as error:
                    yield SendResult(file.path, None, f"the connection was lost before the answer: {_plain(error)}")
                    return
                yield SendResult(file.path, status, "" if status == 0 else f"answered with status 0x{status:04X}")
            file = next(waiting, None)
        release(sock)

    def _associate(
        self, sock: socket.socket, contexts: dict[tuple[bytes, bytes], int]
    ) -> tuple[dict[int, pdu.ContextResult], int]:
        proposed = [pdu.ProposedContext(number, pair[0], (pair[1],)) for pair, number in contexts.items()]
        results, peer_bytes = associate(
            sock,
            pdu.associate_rq(
                called_ae=self.called_ae, calling_ae=self.calling_ae, contexts=proposed, max_pdu_bytes=self.max_pdu
            ),
        )
        return results, min(peer_bytes or self.max_pdu, self.max_pdu)

    def _store(self, sock: socket.socket, file: _File, context_id: int, message_id: int, pdu_bytes: int) -> int:
        sop_class, sop_instance = file.pair[0], file.head.sop_instance_uid.encode("latin-1")
        fragment_bytes = max(pdu_bytes - pdu.PDV_HEADER_BYTES, 2) // 2 * 2
        with file.path.open("rb", buffering=0) as opened:
            left = opened.seek(0, 2) - file.head.data_set_offset
            opened.seek(file.head.data_set_offset)
            begun: list[bytes | memoryview] = [pdu.store_request(context_id, sop_class, sop_instance, message_id)]
            begun += [pdu.p_data_header(0, context_id, pdu.LAST)] * (left <= 0)
            while left > 0:
                chunk = memoryview(opened.read(max(_CHUNK_BYTES // fragment_bytes, 1) * fragment_bytes))
                if not chunk:
                    raise OSError("the file became shorter while it was sent")
                for at in range(0, len(chunk), fragment_bytes):
                    fragment = chunk[at : at + fragment_bytes]
                    left -= len(fragment)
                    begun += [pdu.p_data_header(len(fragment), context_id, 0 if left > 0 else pdu.LAST), fragment]
                sock.sendall(b"".join(begun))
                self.on_bytes(len(chunk))
                begun = []
            if begun:
                sock.sendall(b"".join(begun))
        return response_status(sock, message_id)


def _ae(title: str) -> bytes:
    raw = title.encode("latin-1")
    if not 1 <= len(raw) <= 16 or not raw.strip():
        raise ValueError("an AE title has 1 to 16 characters")
    return raw


def _plain(error: Exception) -> str:
    """What went wrong, without the path that an OSError's text carries."""
    return (error.strerror or str(error) or type(error).__name__) if isinstance(error, OSError) else str(error)
