"""`./dev demo`: real DICOM goes over DIMSE into the receiver, and comes out as ImageSetIds in MySQL.

Runs `ahi-ingest up` on a state folder of its own, sends some of pydicom's bundled objects, waits for the verdict, prints
what the catalog says, and ends everything that it started.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file
from rich import box
from rich.console import Console
from rich.table import Table

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Association, Queries, StoredObject, connect
from receiver.dicom.sender import send

# CT, MR, two multi-frame objects (ultrasound, RT dose), RT plan, and two structured reports: what pydicom itself is tested on.
FILES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "examples_ybr_color.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
)
CALLING_AE = "DEMO"
READY_SECONDS = 240
VERDICT_SECONDS = 120
STOP_SECONDS = 30


class DemoError(Exception):
    """The demo cannot go on. The text says why."""


def main() -> int:
    """Run the demo; the exit code."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="ahi-ingest-demo-") as folder:
        try:
            with _pipeline(Path(folder), console) as endpoints:
                _send(endpoints["dicom"], console)
                with closing(connect(CatalogSettings(**endpoints["mysql"], tls="off"))) as catalog:
                    association = _verdict(catalog, console)
                    _print(association, catalog.stored_objects(association.association), console)
        except DemoError as error:
            console.print(str(error), style="red", markup=False)
            return 1
    return 0 if association.status == "COMPLETE" else 1


@contextmanager
def _pipeline(state: Path, console: Console) -> Iterator[dict[str, Any]]:
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


def _send(dicom: dict[str, Any], console: Console) -> None:
    paths = []
    for name in FILES:
        path = get_testdata_file(name, download=False)
        if not isinstance(path, str):
            raise DemoError(f"pydicom does not bundle {name} any more: change the list in {__file__}")
        paths.append(Path(path))
    results = list(send(paths, host=dicom["host"], port=dicom["port"], calling_ae=CALLING_AE, called_ae=dicom["ae_title"]))
    if refused := [result for result in results if result.status != 0]:
        raise DemoError("\n".join(f"{result.path.name} was not stored: {result.reason}" for result in refused))
    console.print(f"Sent {len(results)} objects over one association: CT, MR, multi-frame, RT and SR; each answered 0x0000.")


def _verdict(catalog: Queries, console: Console) -> Association:
    """The association, once its execution has ended."""
    with console.status("Uploading, indexing, importing"):
        began = time.monotonic()
        while time.monotonic() - began < VERDICT_SECONDS:
            ended = [row for row in catalog.associations() if row.status != "RUNNING"]
            if ended:
                console.print(f"The execution of {ended[0].association} ended after {time.monotonic() - began:.0f} s.")
                return ended[0]
            time.sleep(0.2)
    raise DemoError(f"No verdict within {VERDICT_SECONDS} s.")


def _print(association: Association, objects: list[StoredObject], console: Console) -> None:
    table = Table(title="What MySQL says", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
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


if __name__ == "__main__":
    sys.exit(main())
