"""`ahi-ingest queues`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, fail, sentences

if TYPE_CHECKING:
    from console.letters import DeadLetters, Depth, Redriven
    from console.stack import Stack


def queues(
    redrive: Annotated[str, typer.Option(metavar="NAME", help="Give back each letter of this dead letter queue.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --redrive: show the letters only.")] = False,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Show the queues: how many messages wait, since when, and why those are dead that are.

    A dead letter is given back to what should have dealt with it, and deleted once that is done. One that nobody can deal
    with stays.

    Exits 1 when letters are left over.

    \b
    ahi-ingest queues
    ahi-ingest queues --redrive ahi-ingest-prod-inbound-clinic-2-dlq
    """
    console = Console()
    with sentences():
        at = stack.find(state, stack_name)
        from console.letters import depths  # noqa: PLC0415 - boto3 is slow to import

        found = depths(at)
        if redrive:
            _redrive(at, found, redrive, console, dry_run=dry_run)
            return
        render.queues(found, console)
        dead = {one.dead_letters for one in found} | {one.name for one in found if one.name.endswith("-dlq")}
        for one in found:
            if one.name in dead and one.waiting:
                render.letters(one.name, _letters(at, found, one).look(), console)


def _redrive(at: Stack, found: list[Depth], name: str, console: Console, *, dry_run: bool) -> None:
    wanted = next((one for one in found if one.name == name), None)
    if wanted is None:
        fail(f"There is no queue {name}. `ahi-ingest queues` shows those that there are.")
    if wanted.dead_letters:
        fail(f"{name} is no dead letter queue; its own is {wanted.dead_letters}.")
    letters = _letters(at, found, wanted)
    if dry_run:
        render.letters(name, letters.look(), console)
        return
    done: list[Redriven] = []
    try:
        for one in track(letters.redrive(), "Redriving", total=wanted.waiting, console=console, transient=True):
            done.append(one)  # noqa: PERF402 - what was done stays there when it is broken off
    finally:
        render.redriven(done, console)
    raise typer.Exit(1 if any(one.stays for one in done) else 0)


def _letters(at: Stack, found: list[Depth], dead: Depth) -> DeadLetters:
    from console.letters import DeadLetters  # noqa: PLC0415

    source = next((one.url for one in found if one.dead_letters == dead.name), "")
    return DeadLetters(at, dead.url, source)
