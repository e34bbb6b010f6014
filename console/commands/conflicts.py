"""`ahi-ingest conflicts`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, sentences


def conflicts(
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 100,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """List UIDs that were sent under different parents: a study of two patients, a series of two studies.

    The first parent stands, and nothing is moved: the sender has to mend it, and send again.

    Exits 1 when there are any.

    \b
    ahi-ingest conflicts
    """
    with sentences(), closing(stack.questions(state, stack_name)) as catalog:
        found = catalog.conflicts(limit)
    render.conflicts(found, Console())
    raise typer.Exit(1 if found else 0)
