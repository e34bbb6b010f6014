"""`ahi-ingest`: one command line for the receiver, the local stack and the operators' console.

Each command imports what it needs when it runs, so that `--help` is quick. A gateway has the packages of the extra `edge`
alone, and there are the receiver's commands only.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from receiver.gateway import cli as gateway

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def about() -> None:
    """DICOM from a hospital's modalities into AWS HealthImaging; nothing acknowledged is ever lost."""


if find_spec("pymysql"):
    from console.cli import list_, send, show, wait
    from console.commands.adopt import adopt
    from console.commands.conflicts import conflicts
    from console.commands.orphans import orphans
    from console.commands.queues import queues
    from console.commands.rebuild import rebuild
    from console.commands.replay import replay
    from console.commands.verify import verify
    from local.cli import up

    for command in (up, send, show, wait, replay, queues, verify, rebuild, adopt, orphans, conflicts):
        app.command()(command)
    app.command("list")(list_)

for gateway_command in (gateway.echo, gateway.commitments, gateway.drain):
    app.command()(gateway_command)
app.add_typer(gateway.spool, name="spool")
app.add_typer(gateway.quarantine, name="quarantine")


@app.command()
def receive(
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; AHI_INGEST_* variables win over it.")] = None,
) -> None:
    """Receive DICOM over C-STORE and bring it to S3: the receiver alone, configured by AHI_INGEST_* and AWS_* variables."""
    from receiver.cli import receive as run  # noqa: PLC0415 - pynetdicom, which the other commands need not wait for

    run(config)


def main() -> None:
    app()
