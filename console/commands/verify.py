"""`ahi-ingest verify`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, fail, sentences

if TYPE_CHECKING:
    from lambdas.catalog.queries import Queries


def verify(
    association: Annotated[str, typer.Argument(help="An association id: each study that it brought objects of.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="One study.")] = "",
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Compare the catalog with HealthImaging itself, study by study and object by object.

    Told are objects that one of them has and the other lacks, image sets that only one knows, and other versions.

    Exits 0 when both agree and every object is imported, 1 otherwise.

    \b
    ahi-ingest verify 20261124T021501Z-CT_ROOM_1-9f3c2a71
    ahi-ingest verify --study 1.2.840.113619.2.55.3
    """
    if bool(association) + bool(study) != 1:
        raise typer.BadParameter("name one association, or a study with --study")
    console = Console()
    with sentences():
        at = stack.find(state, stack_name)
        from console.verifying import verify as compare  # noqa: PLC0415 - boto3 is slow to import

        image_sets = at.cloud.image_sets(at.datastore_id)
        with closing(stack.questions(state, stack_name)) as queries:
            studies = [study] if study else _studies_of(queries, association)
            found = {
                uid: compare(image_sets, queries, uid) for uid in track(studies, "Comparing", console=console, transient=True)
            }
        render.verified(found, console)
    agreed = all(not one.differences and not one.not_imported and one.objects for one in found.values())
    raise typer.Exit(0 if agreed else 1)


def _studies_of(queries: Queries, association: str) -> list[str]:
    row = queries.association(association)
    studies = queries.studies_of(row.association if row is not None else association)
    if not studies:
        fail(f"The catalog knows no object of an association {association}. `ahi-ingest list` shows those it knows.")
    return studies
