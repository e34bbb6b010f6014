"""The operators' commands of `ahi-ingest`: send, list, show, wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, fail, sentences
from lambdas.catalog.ledger import LedgerCounts
from lambdas.catalog.queries import Association, Queries

OPEN_STATUSES = {"REGISTERED", "RUNNING"}
_POLL_SECONDS = 0.5


def send(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files, and folders that are searched for files.")],
    to: Annotated[str, typer.Option(metavar="HOST:PORT", help="The receiver. Default: that of the running `up`.")] = "",
    state: State = DEFAULT_STATE,
    calling_ae: Annotated[str, typer.Option(help="The AE title to send as.")] = "AHI_SEND",
    called_ae: Annotated[str, typer.Option(help="The AE title to send to. Default: that of the running `up`.")] = "",
) -> None:
    """Send DICOM files to a receiver, each data set byte for byte as it is in its file.

    Exits 0 when every file was stored, 1 when some were not: each is listed with the reason.

    Example: ahi-ingest send ~/studies --to 10.0.0.5:11112
    """
    from console.send import files_below, send_files  # noqa: PLC0415 - the other commands need no DICOM

    with sentences():
        dicom = {} if to else stack.endpoints(state)["dicom"]
    host, port = _address(to) if to else (dicom["host"], dicom["port"])
    called = called_ae or dicom.get("ae_title", "ANY-SCP")
    files = files_below(paths)
    stored = send_files(files, host=host, port=port, calling_ae=calling_ae, called_ae=called, console=Console())
    raise typer.Exit(0 if stored else 1)


def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines of each.")] = 20,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """List the newest associations and studies, with what became of them."""
    console = Console()
    with sentences(), closing(stack.questions(state, stack_name)) as catalog:
        render.associations(catalog.associations(limit), console)
        console.print()
        render.studies(catalog.study_list(limit), console)


def show(
    association: Annotated[str, typer.Argument(help="An association id, as `list` shows it.")],
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Show one association: how it ended, its ledger, import jobs and image sets, and each object that failed."""
    console = Console()
    with sentences(), closing(stack.questions(state, stack_name)) as catalog:
        row = catalog.association(association)
        if row is None:
            fail(f"The catalog knows no association {association}. `ahi-ingest list` shows those it knows.")
        render.association(row, catalog.ledger(row.association), console)
        render.members(catalog.members(row.association), console)
        render.import_jobs(catalog.import_jobs(row.association), console)
        render.image_sets(catalog.image_sets(row.association), console)
        render.failed_objects(catalog.stored_objects(row.association, only_failed=True), console)


def wait(
    association: Annotated[str, typer.Argument(help="An association id, as the receiver logs it and `list` shows it.")],
    timeout_seconds: Annotated[float, typer.Option(min=0, help="Give up after so long.")] = 3600,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Wait until every object of an association has its image set. Exits 0 then, and 1 with the reason otherwise."""
    with sentences(), closing(stack.questions(state, stack_name)) as catalog:
        row = wait_for_end(catalog, association, timeout_seconds)
        if row is None:
            fail(f"{association} has not reached the catalog in {timeout_seconds:g} s: is its sender done?")
        if row.status in OPEN_STATUSES:
            fail(f"{association} is still {row.status} after {timeout_seconds:g} s.")
        counts = catalog.ledger(row.association)
    if row.status != "COMPLETE":
        fail(
            f"{association} is {row.status}: {_reason(row, counts)} `ahi-ingest show {association}` lists the objects, and "
            f"`ahi-ingest replay {association}` does what helps."
        )
    typer.echo(f"{association} is COMPLETE: {row.objects} object(s) imported.")


def wait_for_end(
    catalog: Queries,
    association: str,
    timeout_seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Association | None:
    """The association's row once its execution has ended, or as it is when the time is up; None when there is none yet."""
    deadline = now() + timeout_seconds
    while True:
        row = catalog.association(association)
        if (row is not None and row.status not in OPEN_STATUSES) or now() >= deadline:
            return row
        sleep(_POLL_SECONDS)


def _reason(row: Association, counts: LedgerCounts | None) -> str:
    parts = [f"{row.error}." if row.error else ""]
    if counts:
        numbers = {
            "failed": counts.failed,
            "not indexed": counts.not_indexed + counts.not_looked_at,
            "quarantined": counts.quarantined,
            "without an import result": counts.without_result,
            "foreign": counts.foreign,
        }
        named = ", ".join(f"{count} {name}" for name, count in numbers.items() if count)
        parts.append(f"Of {counts.objects + counts.quarantined} object(s): {named or 'all imported'}.")
    return " ".join(part for part in parts if part)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise typer.BadParameter("expected HOST:PORT, such as 10.0.0.5:11112", param_hint="--to")
    return host.strip("[]") or "127.0.0.1", int(port)
