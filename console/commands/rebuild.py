"""`ahi-ingest rebuild`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, fail, sentences
from lambdas.catalog import CatalogSettings, migrate
from lambdas.catalog.queries import connect

if TYPE_CHECKING:
    from console.history import NotRebuilt


def rebuild(  # noqa: PLR0917 - typer's way to declare options
    into: Annotated[str, typer.Option(metavar="DATABASE", help="An empty database on the catalog's server.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a database that is not empty any more.")] = False,
    at_once: Annotated[
        int, typer.Option(min=1, max=32, help="Associations side by side. With 1 the change log is as it was, too.")
    ] = 8,
    default_issuers: Annotated[
        str,
        typer.Option(envvar="DEFAULT_ISSUERS", metavar="JSON", help="As the Lambdas' variable of this name, if they have it."),
    ] = "{}",
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Make the catalog again, of the manifests and outputs in S3 and of what HealthImaging and Step Functions remember.

    Nothing outside the database is changed. Without --into it is the stack's own, which must be empty; end the stack's
    executions first, or give them a database of their own.

    Exits 0 when all was rebuilt, 1 when some could not be: each is listed with the reason.

    \b
    ahi-ingest rebuild --into catalog_new
    ahi-ingest rebuild --into catalog_new --resume
    """
    console = Console()
    with sentences():
        at = stack.find(state, stack_name)
        target = replace(at.catalog_settings, database=into or at.catalog_settings.database)
        _prepare(target, resume=resume)
        from console import history  # noqa: PLC0415 - boto3 is slow to import
        from console.rebuilding import Rebuilding  # noqa: PLC0415
        from lambdas.logic.issuers import parse_issuers  # noqa: PLC0415

        with console.status("Looking into the past"):
            (remembered, unreadable), attempts = history.associations(at), history.attempts(at)
        with closing(Rebuilding(at, target, parse_issuers(default_issuers), at_once=at_once)) as rebuilding:
            problems = [
                *unreadable,
                *_done(rebuilding.register(remembered), "Registering", len(remembered), console),
                *_done(rebuilding.import_(attempts), "Importing", len(attempts), console),
                *_done(rebuilding.index(remembered), "Indexing", len(remembered), console),
            ]
        render.rebuilt(len(remembered), len(attempts), problems, console)
    raise typer.Exit(1 if problems else 0)


def _prepare(target: CatalogSettings, *, resume: bool) -> None:
    migrate(target)
    with closing(connect(target)) as queries:
        if not resume and queries.associations(1):
            fail(f"The database {target.database} is not empty: name an empty one with --into, or go on in it with --resume.")


def _done(steps: Iterator[NotRebuilt | None], doing: str, total: int, console: Console) -> list[NotRebuilt]:
    return [one for one in track(steps, doing, total=total, console=console, transient=True) if one is not None]
