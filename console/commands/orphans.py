"""`ahi-ingest orphans`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, sentences


def orphans(
    settled: Annotated[bool, typer.Option("--settled", help="Also what the sweep has put right, or found no more.")] = False,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """List what is astray between S3, the catalog and Step Functions, as the last sweep found it.

    Objects without a manifest belong to an edge that still uploads, or that is lost: `ahi-ingest adopt` ingests them.

    Exits 1 when something is astray.

    \b
    ahi-ingest orphans
    """
    with sentences(), closing(stack.questions(state, stack_name)) as catalog:
        found = catalog.orphans(settled=settled)
    render.orphans(found, Console())
    raise typer.Exit(1 if any(one.settled_at is None for one in found) else 0)
