"""What both demos do: run a stack, send pydicom's files, print what the catalog says of an association."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file
from rich import box
from rich.console import Console
from rich.table import Table

from lambdas.catalog.queries import Association, StoredObject
from receiver.dicom.sender import send

READY_SECONDS = 240
STOP_SECONDS = 30


class DemoError(Exception):
    """The demo cannot go on. The text says why."""


@contextmanager
def pipeline(state: Path, console: Console) -> Iterator[dict[str, Any]]:
    """The endpoints of a stack that lives as long as the context."""
    log = state / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(  # noqa: S603 - our own program
            [str(Path(sys.executable).with_name("ahi-ingest")), "up", "--state", str(state)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with console.status("Starting the pipeline: receiver, AWS and HealthImaging emulators, MySQL"):
            began = time.monotonic()
            endpoints = state / "endpoints.json"
            while not endpoints.exists():
                if up.poll() is not None or time.monotonic() - began > READY_SECONDS:
                    said = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
                    raise DemoError(f"The pipeline did not start. What it said:\n{said}")
                time.sleep(0.1)
        console.print(f"The pipeline is up after {time.monotonic() - began:.0f} s: the deployed template is the cloud's own.")
        yield json.loads(endpoints.read_text(encoding="utf-8"))
    finally:
        up.terminate()
        try:
            up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


def send_files(names: Sequence[str], dicom: Mapping[str, Any], calling_ae: str, console: Console) -> None:
    """Send these of pydicom's files over one association. Raises DemoError when one is not stored."""
    paths = [bundled(name) for name in names]
    results = list(send(paths, host=dicom["host"], port=dicom["port"], calling_ae=calling_ae, called_ae=dicom["ae_title"]))
    if refused := [result for result in results if result.status != 0]:
        raise DemoError("\n".join(f"{result.path.name} was not stored: {result.reason}" for result in refused))
    console.print(f"{calling_ae} sent {len(results)} objects over one association; each was answered 0x0000.")


def bundled(name: str) -> Path:
    """One of the files that pydicom brings along. Raises DemoError."""
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise DemoError(f"pydicom does not bundle {name} any more: choose another")
    return Path(path)


def has_ended(association: Association) -> bool:
    """Whether its execution has; the row is there a moment before that runs."""
    return association.status not in {"REGISTERED", "RUNNING"}


def print_objects(association: Association, objects: list[StoredObject], console: Console) -> None:
    """What the ledger says of an association's objects, one line for each image set and result."""
    table = Table(
        title=f"What MySQL says of {association.association}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in ("study", "series", "instances", "ImageSetId", "status"):
        table.add_column(column, no_wrap=True, justify="right" if column == "instances" else "left")

    def where(row: StoredObject) -> tuple[str, str, str, str]:
        return (
            *(row.study_instance_uid or "", row.series_instance_uid or "", row.image_set_id or ""),
            row.import_status or "NO RESULT",
        )

    for (study, series, image_set, status), rows in groupby(sorted(objects, key=where), key=where):
        table.add_row(_tail(study), _tail(series), str(len(list(rows))), image_set, status)
    console.print(table)
    good = association.status == "COMPLETE"
    console.print(f"The association is {association.status}.", style="green" if good else "red")


def _tail(uid: str) -> str:
    """The end of a UID, where UIDs differ, so that a line fits into 80 columns."""
    return uid if len(uid) <= 8 else f"…{uid[-7:]}"
