"""The servers that are measured: how each is started on a port, to write below a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.programs import RECEIVER_PYTHON, dcmtk

TUNED, OURS, OURS_DURABLE = "DCMTK storescp, tuned", "ahi-ingest, none", "ahi-ingest, object"
OURS_RECYCLING, OURS_DURABLE_RECYCLING = f"{OURS}, recycled files", f"{OURS_DURABLE}, recycled files"
DEFAULT = "DCMTK storescp, default, no delay"
INSTALLED, ORTHANC, PYNETDICOM, REFERENCE, SINK = (
    "DCMTK storescp, as installed",
    "Orthanc",
    "pynetdicom storescp",
    "the reference's pattern",
    "TCP to file, no DICOM",
)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server to measure. More associations than `max_associations` are not for it; a `slow` one is sent fewer objects,
    and may have fewer rounds.

    One that `recycles` has uploaded so many objects before, to `AWS_ENDPOINT_URL`, that it has their files for new ones.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Callable[[int, Path], Mapping[str, str]] = lambda _port, _folder: {}
    mode: str = "dicom"
    max_associations: int = 16
    keeps_objects_in_memory: bool = False
    slow: bool = False
    recycles: bool = False


def ours(port: int, folder: Path, *, durability: str, workers: int) -> dict[str, str]:
    """The receiver as shipped, with AWS away: receiving alone."""
    return {
        "AHI_INGEST_EDGE_ID": "bench",
        "AHI_INGEST_BUCKET": "nowhere",
        "AHI_INGEST_QUEUE_URL": "http://127.0.0.1:9/nowhere",
        "AHI_INGEST_SPOOL": str(folder / "spool"),
        "AHI_INGEST_HOST": "127.0.0.1",
        "AHI_INGEST_PORT": str(port),
        "AHI_INGEST_DURABILITY": durability,
        "AHI_INGEST_WORKERS": str(workers),
        "AHI_INGEST_DRAIN_TIMEOUT_SECONDS": "0",
        "AHI_INGEST_HEALTH_PORT": "-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
    }


def _ours(name: str, durability: str, workers: int, *, recycles: bool = False) -> Server:
    return Server(
        name=name,
        recycles=recycles,
        command=lambda _port, _folder: [RECEIVER_PYTHON, "-m", "receiver"],
        settings=lambda port, folder: ours(port, folder, durability=durability, workers=workers),
    )


def _orthanc(port: int, folder: Path) -> list[str]:
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "DicomPort": port,
                "HttpServerEnabled": False,
                "RemoteAccessAllowed": False,
                "Plugins": [],
            }
        ),
        encoding="utf-8",
    )
    return ["Orthanc", str(configuration)]


def servers(workers: int) -> dict[str, Server]:
    """All of them by name; ours with `workers` processes in every cell."""
    made = (
        _ours(OURS, "none", workers),
        _ours(OURS_RECYCLING, "none", workers, recycles=True),
        _ours(OURS_DURABLE, "object", workers),
        _ours(OURS_DURABLE_RECYCLING, "object", workers, recycles=True),
        Server(
            name=TUNED,
            command=lambda port, folder: [
                *(dcmtk("storescp"), "--fork", "+B", "-dhl", "-pdu", "131072", "-od", str(folder), str(port))
            ],
            environment={"TCP_NODELAY": "1"},
        ),
        Server(
            name=DEFAULT,
            command=lambda port, folder: [dcmtk("storescp"), "--fork", "-od", str(folder), str(port)],
            environment={"TCP_NODELAY": "1"},
        ),
        Server(
            name=INSTALLED,
            command=lambda port, folder: [dcmtk("storescp"), "--fork", "-od", str(folder), str(port)],
            slow=True,
        ),
        Server(name=ORTHANC, command=_orthanc, environment={"TCP_NODELAY": "1"}, keeps_objects_in_memory=True, slow=True),
        Server(
            name=PYNETDICOM,
            command=lambda port, folder: [RECEIVER_PYTHON, "-m", "pynetdicom", "storescp", "-od", str(folder), str(port)],
            max_associations=10,
            keeps_objects_in_memory=True,
            slow=True,
        ),
        Server(
            name=REFERENCE,
            command=lambda port, folder: [sys.executable, "-m", "bench.reference", str(port), str(folder)],
            keeps_objects_in_memory=True,
            slow=True,
        ),
        Server(
            name=SINK, command=lambda port, folder: [RECEIVER_PYTHON, "-m", "bench.sink", str(port), str(folder)], mode="raw"
        ),
    )
    return {server.name: server for server in made}
