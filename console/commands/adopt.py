"""`ahi-ingest adopt`."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from console import render, stack
from console.options import DEFAULT_STATE, StackName, State, sentences
from contract.association import check_edge_id

if TYPE_CHECKING:
    from console.adopting import Adopted


def adopt(
    uri: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", help="Where the objects are.")],
    edge: Annotated[str, typer.Option(help="The edge id under which they are kept.")] = "adopted",
    quiet_hours: Annotated[
        float, typer.Option(min=0, help="Under instances/: leave alone what got objects within so many hours.")
    ] = 24,
    state: State = DEFAULT_STATE,
    stack_name: StackName = "",
) -> None:
    """Ingest objects that came to S3 without the receiver: copied there by DataSync, Storage Gateway or Snow.

    Each is read once, copied below instances/ and listed in a manifest, up to 5,000 to an association; what is not DICOM is
    quarantined with the reason. They count as newer than all that was sent before. The objects themselves are left alone.

    Below instances/ of the stack's own bucket, objects whose association has no manifest are adopted where they stand.

    It may be broken off with Ctrl-C and given again; objects that came meanwhile are adopted, too.

    Exits 1 when something was not adopted: the table says why.

    \b
    ahi-ingest adopt s3://ahi-ingest-prod-objects/external/archive-2019/
    ahi-ingest adopt s3://ahi-ingest-prod-objects/instances/clinic-2/20261124T021501Z-CT_ROOM_1-9f3c2a71/
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket or not prefix.endswith("/"):
        raise typer.BadParameter("expected s3://BUCKET/PREFIX/, with a slash at its end", param_hint="URI")
    console = Console()
    done: list[Adopted] = []
    with sentences():
        check_edge_id(edge)
        at = stack.find(state, stack_name)
        from console.adopting import Adopted, Adopting  # noqa: PLC0415 - boto3 is slow to import

        with closing(stack.questions(state, stack_name)) as queries, console.status("Adopting") as status:
            adopting = Adopting(at, queries, edge=edge, quiet_hours=quiet_hours)
            try:
                for plan in adopting.plans(bucket, prefix):
                    one = plan if isinstance(plan, Adopted) else adopting.carry_out(plan)
                    done.append(one)
                    status.update(Text(f"Adopting: {len(done)} association(s), {one.association} {one.said}"))
                    time.sleep(1)  # as HealthImaging takes starts of imports
            finally:
                render.adopted(done, console)
    raise typer.Exit(1 if any(one.failed for one in done) else 0)
