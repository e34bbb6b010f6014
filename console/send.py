"""`ahi-ingest send`: a folder of DICOM to a receiver, each file's data set byte for byte as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from receiver.dicom.sender import SendResult, send

REFUSED_SHOWN = 50


def files_below(paths: Iterable[Path]) -> list[Path]:
    """Every file among the paths and below the folders among them, each once, in order."""
    found: dict[Path, None] = {}
    for path in paths:
        below: Iterator[Path] = (
            (entry for entry in sorted(path.rglob("*")) if entry.is_file()) if path.is_dir() else iter((path,))
        )
        found.update(dict.fromkeys(below))
    return list(found)


def send_files(files: list[Path], *, host: str, port: int, calling_ae: str, called_ae: str, console: Console) -> bool:
    """Sends the files with a progress bar and prints what was refused and why; whether every file was stored."""
    refused: list[SendResult] = []
    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("send", total=len(files))
        for result in send(files, host=host, port=port, calling_ae=calling_ae, called_ae=called_ae):
            progress.advance(task)
            if result.status != 0:
                refused.append(result)
    console.print(f"{len(files) - len(refused)} of {len(files)} files stored by {called_ae} at {host}:{port}")
    if refused:
        _print_refused(refused, console)
    return not refused


def _print_refused(refused: list[SendResult], console: Console) -> None:
    """Each reason once, and below it the files."""
    by_reason: dict[str, list[Path]] = {}
    for result in refused:
        by_reason.setdefault(result.reason, []).append(result.path)
    console.print(f"{len(refused)} not stored:")
    for reason, paths in by_reason.items():
        console.print(f"  {reason}", style="bold", markup=False, highlight=False)
        for path in paths[:REFUSED_SHOWN]:
            console.print(f"    {path}", markup=False, highlight=False, soft_wrap=True)
        if len(paths) > REFUSED_SHOWN:
            console.print(f"    and {len(paths) - REFUSED_SHOWN} more")
