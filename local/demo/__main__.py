"""`./dev demo`: real DICOM goes over DIMSE into the receiver, and comes out as ImageSetIds in MySQL.

Runs `ahi-ingest up` on a state folder of its own, sends some of pydicom's bundled objects, waits for the verdict, prints
what the catalog says, and ends everything that it started. `--faults` shows failures and their replay (faults.py).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from local.demo import faults
from local.demo.steps import DemoError, has_ended, pipeline, print_objects, send_files

if TYPE_CHECKING:
    from lambdas.catalog.queries import Association, Queries

# CT, MR, two multi-frame objects (ultrasound, RT dose), a segmentation, and two structured reports. (pydicom's other RT objects
# name another SOP Instance UID in their file meta information, by which they are sent: the receiver quarantines such.)
FILES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "examples_ybr_color.dcm",
    "rtdose_rle.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
)
CALLING_AE = "DEMO"
VERDICT_SECONDS = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(prog="./dev demo", description="Real DICOM from DIMSE to image sets, on this machine.")
    parser.add_argument("--faults", action="store_true", help="let HealthImaging fail, and replay what failed")
    options = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="ahi-ingest-demo-") as folder:
        try:
            with pipeline(Path(folder), console) as endpoints:
                complete = faults.run(endpoints, Path(folder), console) if options.faults else _run(endpoints, console)
        except DemoError as error:
            console.print(str(error), style="red", markup=False)
            return 1
    return 0 if complete else 1


def _run(endpoints: Mapping[str, Any], console: Console) -> bool:
    send_files(FILES, endpoints["dicom"], CALLING_AE, console)
    with closing(connect(CatalogSettings(**endpoints["mysql"], tls="off"))) as catalog:
        association = _verdict(catalog, console)
        print_objects(association, catalog.stored_objects(association.association), console)
    return association.status == "COMPLETE"


def _verdict(catalog: Queries, console: Console) -> Association:
    """The association, once its execution has ended."""
    with console.status("Uploading, indexing, importing"):
        began = time.monotonic()
        while time.monotonic() - began < VERDICT_SECONDS:
            ended = [row for row in catalog.associations() if has_ended(row)]
            if ended:
                console.print(f"The execution of {ended[0].association} ended after {time.monotonic() - began:.0f} s.")
                return ended[0]
            time.sleep(0.2)
    raise DemoError(f"No verdict within {VERDICT_SECONDS} s.")


if __name__ == "__main__":
    sys.exit(main())
