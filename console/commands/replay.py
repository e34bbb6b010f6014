"""`ahi-ingest replay`."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, fail, sentences

if TYPE_CHECKING:
    from console.replay import Done, Replay
    from lambdas.catalog.queries import Queries

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def replay(  # noqa: PLR0917 - typer's way to declare options
    association: Annotated[str, typer.Argument(help="An association id, as `list` shows it.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="Every association that brought objects of this study.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="All that failed since: 2h, 3d, or 2026-11-24T08:00 (UTC).")] = "",
    error: Annotated[str, typer.Option(metavar="NAME", help="All that failed so: its own error, or that of an import.")] = "",
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Go on from the step that failed, whether it helps or not.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Start a new execution from the manifest in S3.")] = False,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Import again only what is not imported, then redrive: it turns green.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Import also objects that a later association has sent again: the older win.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the ends. Exits 0 when all succeeded.")] = False,
    per_second: Annotated[float, typer.Option(min=0.01, help="Import starts a second: HealthImaging takes about one.")] = 1.0,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Replay what failed, from the step that failed, with what helps each.

    Without --redrive, --restart or --failed-only each association gets what helps: a redrive, or an import of the objects
    that are not imported, and then the redrive. It may be broken off with Ctrl-C and given again.

    Exits 1 when something stays as it was, red: the table says why, and what to do.

    \b
    ahi-ingest replay 20261124T021501Z-CT_ROOM_1-9f3c2a71
    ahi-ingest replay --study 1.2.840.113619.2.55.3
    ahi-ingest replay --since 2h --dry-run
    ahi-ingest replay --error MedicalImaging.AccessDeniedException --wait
    """
    from console.planning import Act  # noqa: PLC0415 - boto3 is slow to import
    from console.replay import Replay  # noqa: PLC0415

    chosen = [act for act, given in {Act.REDRIVE: redrive, Act.RESTART: restart, Act.FAILED_ONLY: failed_only}.items() if given]
    if len(chosen) > 1:
        raise typer.BadParameter("choose one of --redrive, --restart, --failed-only")
    if force and chosen == [Act.REDRIVE]:
        raise typer.BadParameter("a redrive keeps the input of its execution: use --restart --force")
    if bool(association) + bool(study) + bool(since or error) != 1:
        raise typer.BadParameter("name one association, or --study, or --since and --error")
    with sentences():
        at = stack.find(state, stack_name)
        with closing(stack.questions(state, stack_name)) as queries:
            found = _select(queries, association, study, since, error)
            asked = chosen[0] if chosen else None
            replaying = Replay(at, queries, asked=asked, force=force, starts_per_second=per_second)
            _replay(replaying, found, dry_run=dry_run, wait=wait)


def _select(queries: Queries, association: str, study: str, since: str, error: str) -> list[str]:
    if association:
        row = queries.association(association)
        return [row.association if row is not None else association]
    moment = _moment(since) if since else None
    found = [row.association for row in queries.selected(study_instance_uid=study or None, since=moment, error=error or None)]
    if not found and study:
        fail(f"The catalog knows no object of study {study}. `ahi-ingest list` shows the studies that it knows.")
    return found


def _replay(replaying: Replay, associations: list[str], *, dry_run: bool, wait: bool) -> None:
    console = Console()
    plans = [replaying.plan(one) for one in track(associations, "Looking", console=console, transient=True)]
    if dry_run:
        render.plans(plans, console)
        return
    done: list[Done] = []
    try:
        for one in track(replaying.carry_out(plans), "Replaying", total=len(plans), console=console, transient=True):
            done.append(one)  # noqa: PERF402 - what was done stays there when it is broken off
    finally:
        render.done(done, console)
    refused = any(one.refused for one in done)
    if wait:
        started = [one for one in done if one.execution_arn]
        runs = [(one, replaying.wait(one)) for one in track(started, "Waiting", console=console, transient=True)]
        render.ends(runs, console)
        refused |= any(run is None or run.status != "SUCCEEDED" for _, run in runs)
    raise typer.Exit(1 if refused else 0)


def _moment(text: str) -> datetime:
    """A time as UTC without a zone, as the catalog has them."""
    if ago := re.fullmatch(r"(\d+)([mhd])", text):
        return datetime.now(UTC).replace(tzinfo=None) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("expected a time such as 2h, 3d or 2026-11-24T08:00", param_hint="--since") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
