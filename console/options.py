"""What the operators' commands have in common: which stack they ask, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from console.errors import CloudError, StackNotFoundError
from contract.strict import ContractError
from lambdas.errors import IngestError

State = Annotated[Path, typer.Option(envvar="AHI_INGEST_STATE", help="The state folder of the `ahi-ingest up` to ask.")]
DEFAULT_STATE = Path(".ahi-ingest")

StackName = Annotated[
    str,
    typer.Option(
        "--stack",
        envvar="AHI_INGEST_STACK",
        metavar="NAME",
        help="Ask an environment on AWS by its name (ahi-ingest-prod), by your AWS credentials and region, "
        "in place of a local one. CATALOG_CA_FILE names the authorities to trust for the catalog's TLS.",
    ),
]


@contextmanager
def sentences() -> Iterator[None]:
    """Ends the command with the error's own sentence, where it is one that the operator can do something about."""
    try:
        yield
    except (StackNotFoundError, IngestError, ContractError, CloudError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("Broken off. What was started goes on; the same command again takes up the rest.")


def fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
