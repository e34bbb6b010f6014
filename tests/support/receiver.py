"""The receiver in tests: as a part of this process with a cloud in memory, or as a process of its own against the emulator."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from contract.manifest import AssociationManifest, Entry, PartManifest, QuarantinedObject
from contract.message import InboundMessage
from contract.strict import from_json
from local.aws import Aws
from local.processes import LOOPBACK, Process
from receiver.dicom import pdu
from receiver.filesystem import FileSystem
from receiver.service import Receiver
from receiver.settings import Settings
from receiver.spool.recycling import FOLDER
from tests.support.cloud import FakeCloud

CT, MR = b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
WITHIN_SECONDS = 5


def until(condition: Callable[[], object], what: str, within_seconds: float = WITHIN_SECONDS) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + within_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within_seconds} s"
        time.sleep(0.01)
    return value


def association_folders(spool: Path) -> list[Path]:
    """The association folders in a spool, those being removed too, but not the one of recycled files.

    A look misses a folder that is renamed within it, to be removed: so what seems to be empty is looked at again.
    """
    return _look(spool) or _look(spool)


def _look(spool: Path) -> list[Path]:
    while True:
        try:
            return [path for path in spool.glob("out/*/*") if path.is_dir() and path.name != FOLDER]
        except FileNotFoundError:  # a boot folder was removed meanwhile
            continue


@dataclass
class Announced:
    """An association as the cloud knows it."""

    message: InboundMessage
    manifest: AssociationManifest
    entries: list[Entry]


def settings_for(spool: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "edge_id": "edge-1",
        "bucket": "bucket",
        "queue_url": "http://queue",
        "spool": spool,
        "host": LOOPBACK,
        "port": 0,
        "drain_timeout_seconds": 5,
        "artim_timeout_seconds": 5,
        "upload_backoff_max_seconds": 0.2,
    }
    return Settings(**(values | changes))


@dataclass
class Edge:
    """A receiver in this process."""

    receiver: Receiver
    cloud: FakeCloud
    settings: Settings
    seen: int = field(default=0)

    @property
    def port(self) -> int:
        return self.receiver.port

    def announced(self, count: int = 1) -> list[Announced]:
        """The next `count` associations that were announced."""
        wanted = self.seen + count
        until(lambda: len(self.cloud.messages) >= wanted, "announcements")
        bodies, self.seen = self.cloud.messages[self.seen : wanted], wanted
        announced = [self._read(body) for body in bodies]
        for one in announced:
            until(partial(self._is_gone, one.message.association), "folder removed")
        return announced

    def _is_gone(self, association: str) -> bool:
        return not any(association in path.name for path in association_folders(self.settings.spool))

    def data_set(self, entry: Entry | QuarantinedObject) -> bytes:
        content = self.cloud.objects[entry.key]
        return content[144 + struct.unpack_from("<I", content, 140)[0] :]

    def _read(self, body: str) -> Announced:
        message = from_json(InboundMessage, body)
        manifest = from_json(AssociationManifest, self.cloud.objects[message.manifest_key])
        prefix = message.manifest_key.removesuffix("manifest.json")
        parts = [from_json(PartManifest, self.cloud.objects[f"{prefix}{part.part}.json"]) for part in manifest.parts]
        return Announced(message, manifest, [entry for part in parts for entry in part.entries])


@contextmanager
def running_edge(
    folder: Path, cloud: FakeCloud | None = None, files: FileSystem | None = None, **settings: Any
) -> Iterator[Edge]:
    """A receiver in this process, with its spool below `folder`."""
    used = cloud or FakeCloud()
    made = settings_for(folder / "spool", **settings)
    receiver = Receiver(made, used, files)
    receiver.start()
    edge = Edge(receiver, used, made)
    try:
        yield edge
    finally:
        receiver.stop()


@dataclass
class EdgeProcess:
    """A receiver in a process of its own, against the AWS emulator."""

    aws: Aws
    bucket: str
    queue_url: str
    folder: Path
    changes: dict[str, str] = field(default_factory=dict)
    process: Process | None = None
    port: int = 0
    health_port: int = 0
    command: tuple[str, ...] = ("-m", "receiver")
    aws_variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, aws: Aws, bucket: str, folder: Path, **changes: object) -> EdgeProcess:
        """A queue of its own; not started yet."""
        queue_url = aws.sqs.create_queue(QueueName=f"inbound-{uuid4().hex[:12]}")["QueueUrl"]
        return cls(aws, bucket, queue_url, folder, {name.upper(): str(value) for name, value in changes.items()})

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def log_path(self) -> Path:
        return self.folder / "receiver.log"

    def environment(self) -> dict[str, str]:
        own = {
            "EDGE_ID": "edge-1",
            "BUCKET": self.bucket,
            "QUEUE_URL": self.queue_url,
            "SPOOL": str(self.spool),
            "HOST": LOOPBACK,
            "PORT": "0",
            "HEALTH_PORT": "0",
            "UPLOAD_BACKOFF_MAX_SECONDS": "0.5",
        } | self.changes
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AHI_INGEST_", "AWS_"))},
            **{f"AHI_INGEST_{name}": value for name, value in own.items()},
            "AWS_ENDPOINT_URL": self.aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
            **self.aws_variables,
        }

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        begin = self.log_path.stat().st_size if self.log_path.exists() else 0

        def ready() -> bool:
            for line in self.log_path.read_bytes()[begin:].splitlines():
                if line.startswith(b'{"event": "ready"'):
                    self.port, self.health_port = json.loads(line)["port"], json.loads(line)["health_port"]
                    return True
            return False

        self.process = Process.start(
            "The receiver",
            [sys.executable, *self.command],
            log_path=self.log_path,
            ready=ready,
            ready_within_seconds=120,  # several workers on a busy machine
            env=self.environment(),
            cwd=Path(__file__).parents[2],
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def __enter__(self) -> EdgeProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def announced(self, count: int, within_seconds: float = 60) -> list[Announced]:
        """The next `count` associations from the queue; each message is deleted."""
        found: dict[str, Announced] = {}
        deadline = time.monotonic() + within_seconds
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} associations announced within {within_seconds} s"
            answer = self.aws.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
            for received in answer.get("Messages", []):
                message = from_json(InboundMessage, received["Body"])
                found[message.association] = self._read(message)
                self.aws.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=received["ReceiptHandle"])
        return list(found.values())

    def waiting_messages(self) -> int:
        """How many messages are in the queue."""
        answer = self.aws.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def content(self, key: str) -> bytes:
        return self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> set[str]:
        pages = self.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"] for page in pages for entry in page.get("Contents", [])}

    def _read(self, message: InboundMessage) -> Announced:
        manifest = from_json(AssociationManifest, self.content(message.manifest_key))
        prefix = message.manifest_key.removesuffix("manifest.json")
        parts = [from_json(PartManifest, self.content(f"{prefix}{part.part}.json")) for part in manifest.parts]
        return Announced(message, manifest, [entry for part in parts for entry in part.entries])


class RawPeer:
    """A peer that sends exactly the bytes it is told to."""

    def __init__(
        self,
        port: int,
        contexts: Mapping[int, tuple[bytes, tuple[bytes, ...]]],
        *,
        calling_ae: bytes = b"RAW",
        called_ae: bytes = b"ANY",
        application_context: bytes = pdu.APPLICATION_CONTEXT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.create_connection((LOOPBACK, port), timeout=WITHIN_SECONDS)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=LOOPBACK)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        proposed = [pdu.ProposedContext(number, uids[0], uids[1]) for number, uids in contexts.items()]
        request = pdu.associate_rq(called_ae=called_ae, calling_ae=calling_ae, contexts=proposed, max_pdu_bytes=16384)
        try:
            self.sock.sendall(request.replace(pdu.APPLICATION_CONTEXT, application_context))
            self.answer = self.receive()
        except BaseException:
            self.sock.close()
            raise
        self.results = pdu.parse_associate_ac(self.answer[1])[0] if self.answer[0] == pdu.ASSOCIATE_AC else {}

    @property
    def rejection(self) -> tuple[int, ...] | None:
        """Result, source and reason; None when the association was accepted."""
        return tuple(self.answer[1][1:4]) if self.answer[0] == pdu.ASSOCIATE_RJ else None

    def receive(self) -> tuple[int, bytes]:
        """(type, body) of the next PDU; (0, b"") when the connection was closed."""
        head = self._exactly(6)
        return (head[0], self._exactly(int.from_bytes(head[2:], "big"))) if head else (0, b"")

    def status(self) -> int:
        """The status of the response that comes next."""
        kind, body = self.receive()
        assert kind == pdu.P_DATA_TF, f"PDU type {kind}"
        return pdu.unsigned_short(pdu.command_elements(body[6:]), pdu.STATUS)

    def store(
        self, sop_instance: bytes, data: bytes, *, context_id: int = 1, sop_class: bytes = CT, message_id: int = 1
    ) -> int:
        self.sock.sendall(store_pdus(sop_instance, data, context_id=context_id, sop_class=sop_class, message_id=message_id))
        return self.status()

    def release(self) -> None:
        self.sock.sendall(pdu.RELEASE_RQ_PDU)
        assert self.receive()[0] == pdu.RELEASE_RP
        self.sock.close()

    def abort(self) -> None:
        self.sock.sendall(struct.pack(">BxIxxBB", pdu.ABORT, 4, 0, 0))
        self.sock.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                assert not data, "the connection was closed within a PDU"
                return b""
            data += more
        return data


def store_pdus(
    sop_instance: bytes, data: bytes, *, context_id: int = 1, sop_class: bytes = CT, message_id: int = 1, fragment: int = 16000
) -> bytes:
    """A C-STORE-RQ and its data set."""
    pieces = [data[at : at + fragment] for at in range(0, len(data), fragment)] or [b""]
    sent = [pdu.store_request(context_id, sop_class, sop_instance, message_id)]
    for number, piece in enumerate(pieces, 1):
        sent += [pdu.p_data_header(len(piece), context_id, pdu.LAST if number == len(pieces) else 0), piece]
    return b"".join(sent)


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """An element in explicit VR little endian, short form."""
    value += b" " if len(value) % 2 else b""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def small_data_set(study: bytes = b"1.2.3", series: bytes = b"1.2.3.4", more: bytes = b"x") -> bytes:
    """A data set in explicit VR little endian with little but its UIDs."""
    return (
        element(0x0008, 0x0060, b"CS", b"CT")
        + element(0x0020, 0x000D, b"UI", study + b"\0" * (len(study) % 2))
        + element(0x0020, 0x000E, b"UI", series + b"\0" * (len(series) % 2))
        + element(0x0020, 0x4000, b"LT", more)
    )


def large_data_set(pixel_bytes: int) -> bytes:
    """The same with native pixel data of so many bytes, an even number."""
    return small_data_set() + struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OB", pixel_bytes) + bytes(pixel_bytes)
