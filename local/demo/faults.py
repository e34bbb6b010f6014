"""`./dev demo --faults`: HealthImaging fails in three ways, and one `ahi-ingest replay` brings everything to its end.

1. An import job fails: its execution fails by that name.
2. At once: starts are throttled, which is waited out; and one object fails by the service's own fault, again and again, until
   its execution ends as Ingest.Incomplete, with all but that object imported.
3. The faults end. One replay redrives the first, imports the object of the other, and all associations are COMPLETE.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import dcmread

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from local.aws import Aws
from local.demo.steps import DemoError, bundled, has_ended, print_objects, send_files
from local.demo.watching import Watcher
from local.healthimaging.launch import set_faults

if TYPE_CHECKING:
    from rich.console import Console

    from lambdas.catalog.queries import Association, Queries

ENDS_WITHIN_SECONDS = 120


@dataclass(frozen=True)
class Sent:
    """An association of the demo: who sends what, and how it ends while HealthImaging fails."""

    calling_ae: str
    files: Sequence[str]
    ends_as: str


FAILED_JOB = Sent("FAILED_JOB", ("rtdose_rle.dcm", "liver_1frame.dcm"), "FAILED")
THROTTLED = Sent("THROTTLED", ("CT_small.dcm", "MR_small.dcm"), "COMPLETE")
SERVER_ERROR = Sent("SERVER_ERROR", ("reportsi.dcm", "test-SR.dcm", "examples_ybr_color.dcm"), "INCOMPLETE")
ALL = (FAILED_JOB, THROTTLED, SERVER_ERROR)

THROTTLING = {"operation": "StartDICOMImportJob", "error": "ThrottlingException", "times": 4}


def run(endpoints: Mapping[str, Any], state: Path, console: Console) -> bool:
    """Whether everything is imported at the end. Raises DemoError."""
    began = time.monotonic()

    def tell(association: str, text: str, style: str) -> None:
        sender = association.split("-")[1] if association.count("-") > 1 else association
        line = f"{time.monotonic() - began:5.1f} s  {sender:<12}  {text}"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    imaging = endpoints["medical_imaging"]["endpoint_url"]
    watcher = Watcher(Aws(endpoints["stepfunctions"]["endpoint_url"]), endpoints["state_machines"], tell)
    with closing(connect(CatalogSettings(**endpoints["mysql"], tls="off"))) as catalog:
        console.print("\n1. The next import job fails.", style="bold")
        set_faults(imaging, failing_jobs=1)
        _send_and_watch([FAILED_JOB], endpoints, catalog, watcher, console)

        console.print("\n2. Starts are throttled, and one object fails by HealthImaging's own fault.", style="bold")
        uid = dcmread(bundled(SERVER_ERROR.files[0])).SOPInstanceUID
        set_faults(imaging, requests=[THROTTLING], keys=[{"suffix": f"{uid}.dcm", "error": "server"}])
        _send_and_watch([THROTTLED, SERVER_ERROR], endpoints, catalog, watcher, console)

        console.print("\n3. HealthImaging is well again: one replay of everything that failed.", style="bold")
        set_faults(imaging)
        _replay(state, watcher, console)
        complete = watcher.look_until(lambda: all(row.status == "COMPLETE" for row in _rows(catalog, ALL)), ENDS_WITHIN_SECONDS)
        rows = _rows(catalog, ALL)
        for row in reversed(rows):  # oldest first
            print_objects(row, catalog.stored_objects(row.association), console)
    if complete:
        console.print(f"All {sum(row.objects for row in rows)} objects of {len(rows)} associations have an image set.")
    return complete


def _send_and_watch(
    sent: Sequence[Sent], endpoints: Mapping[str, Any], catalog: Queries, watcher: Watcher, console: Console
) -> None:
    for one in sent:
        send_files(one.files, endpoints["dicom"], one.calling_ae, console)

    def ended() -> bool:
        rows = _rows(catalog, sent)
        return len(rows) == len(sent) and all(has_ended(row) for row in rows)

    if not watcher.look_until(ended, ENDS_WITHIN_SECONDS):
        raise DemoError(f"No verdict within {ENDS_WITHIN_SECONDS} s.")
    for one in sent:
        (row,) = _rows(catalog, [one])
        console.print(f"{one.calling_ae} is {row.status}.", style="green" if row.status == "COMPLETE" else "red")
        if row.status != one.ends_as:
            raise DemoError(f"It should be {one.ends_as}: the demo does not show what it promises.")


def _rows(catalog: Queries, sent: Sequence[Sent]) -> list[Association]:
    senders = {one.calling_ae for one in sent}
    return [row for row in catalog.associations() if row.calling_ae in senders]


def _replay(state: Path, watcher: Watcher, console: Console) -> None:
    """As an operator would: the command, with what it says once it has ended. Raises DemoError."""
    arguments = ["replay", "--since", "1h", "--wait", "--state", str(state)]
    console.print(f"$ ahi-ingest {' '.join(arguments[:-2])}", highlight=False)
    command = [str(Path(sys.executable).with_name("ahi-ingest")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 - our own program
        ended: Callable[[], bool] = lambda: process.poll() is not None  # noqa: E731
        if not watcher.look_until(ended, ENDS_WITHIN_SECONDS):
            process.kill()
        said = process.stdout.read() if process.stdout else ""
    console.print(said.rstrip(), markup=False, highlight=False)
    if process.returncode:
        raise DemoError(f"The replay exited with {process.returncode}.")
