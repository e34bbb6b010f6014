"""`quarantine show`, `export` and `release`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from receiver.dicom.sender import send
from receiver.gateway.errors import GatewayError
from receiver.part10 import head_bytes, read_head
from receiver.settings import Settings
from receiver.spool.quarantine import KeptObject, Quarantine
from receiver.walk import SOP_CLASS, SOP_INSTANCE, DataSetWalk

_CHUNK_BYTES = 1024 * 1024


def find(quarantine: Quarantine, name: str) -> KeptObject:
    """The copy that is called so. Raises GatewayError, OSError."""
    for one in quarantine.objects():
        if one.name == name:
            return one
    raise GatewayError(f"no object {name} in the quarantine; `quarantine list` shows all")


def describe(one: KeptObject) -> Iterator[str]:
    """All that is known of it."""
    held = one.held
    yield f"name             {one.name}"
    yield f"reason           {held.reason}"
    yield f"received         {held.received_at:%Y-%m-%d %H:%M:%S} UTC from {one.facts.calling_ae}"
    yield f"association      {one.facts.association}"
    yield f"size             {held.size_bytes:,} bytes"
    yield f"SOP class        {held.sop_class_uid}"
    yield f"SOP instance     {held.sop_instance_uid}"
    yield f"transfer syntax  {held.transfer_syntax_uid}"
    yield f"in S3            {held.key}"
    yield f"here             {one.path}"


def export(one: KeptObject, to: Path) -> None:
    """Copy it to a file that does not exist yet. Raises GatewayError, OSError."""
    try:
        with one.path.open("rb") as source, to.open("xb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
    except FileExistsError:
        raise GatewayError(f"{to} exists already: name a new file") from None


def release(one: KeptObject, settings: Settings) -> None:
    """Send it to this machine's receiver, and discard it once it is acknowledged. Raises GatewayError, OSError."""
    if settings.port <= 0:
        raise GatewayError("the receiver's port is not known: set AHI_INGEST_PORT as the receiver has it")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - any address is also this one
    with tempfile.TemporaryDirectory(dir=one.path.parent) as folder:
        path = Path(folder) / "object.dcm"
        _write_as_its_data_set_says(one, path)
        calling_ae = one.facts.calling_ae or settings.ae_title
        (result,) = send([path], host=host, port=settings.port, calling_ae=calling_ae, called_ae=settings.ae_title)
    if not result.stored:
        raise GatewayError(f"the receiver does not take it: {result.reason}")
    one.discard()


def _write_as_its_data_set_says(one: KeptObject, path: Path) -> None:
    with one.path.open("rb") as source, path.open("xb") as target:
        head = read_head(source)
        source.seek(head.data_set_offset)
        walk = DataSetWalk(head.transfer_syntax_uid)
        while chunk := source.read(_CHUNK_BYTES):
            walk.feed(chunk)
        walk.end()
        uids = (walk.uids.get(SOP_CLASS) or head.sop_class_uid, walk.uids.get(SOP_INSTANCE) or head.sop_instance_uid)
        sop_class, sop_instance, syntax = (uid.encode("latin-1") for uid in (*uids, head.transfer_syntax_uid))
        source.seek(head.data_set_offset)
        target.write(
            head_bytes(
                sop_class=sop_class,
                sop_instance=sop_instance,
                transfer_syntax=syntax,
                source_ae=one.facts.calling_ae.encode("latin-1", "replace"),
            )
        )
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
