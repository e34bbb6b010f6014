"""`ahi-ingest up`: the whole pipeline on this machine, until SIGTERM or Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    state: Annotated[
        Path, typer.Option(envvar="AHI_INGEST_STATE", help="The folder where everything is kept between runs.")
    ] = Path(".ahi-ingest"),
    dicom_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The receiver's port. Default: 11112, or a free one if it is taken.")
    ] = None,
) -> None:
    """Run the whole pipeline on this machine until Ctrl-C: receiver, AWS and HealthImaging emulators, MySQL."""
    from local.up import run  # noqa: PLC0415 - boto3 and the emulators' clients, which `--help` must not wait for

    raise typer.Exit(run(state, dicom_port=dicom_port))
