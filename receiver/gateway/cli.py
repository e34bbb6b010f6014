"""The operators' commands on the gateway. Each imports what it needs when it runs, so that `--help` is quick.

They print UIDs, ids, sizes and reasons, no patient data.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.spool.quarantine import Quarantine
    from receiver.spool.view import SpoolView

spool = typer.Typer(no_args_is_help=True, help="What is in the spool: associations that are not announced yet.")
quarantine = typer.Typer(no_args_is_help=True, help="Objects that were acknowledged and not imported, as kept on this gateway.")

Config = Annotated[Path | None, typer.Option(help="The receiver's TOML file; else its AHI_INGEST_* variables.")]
Association = Annotated[str, typer.Argument(help="An association id, or its beginning.")]
Name = Annotated[str, typer.Argument(help="ASSOCIATION/FILE, as `quarantine list` prints it.")]

Answer = TypeVar("Answer")


@spool.command("list")
def spool_list(config: Config = None) -> None:
    """One line for each association: its id, how far it is, objects, bytes, the age of its oldest object."""
    from receiver.gateway.spooled import list_spool

    _tell(lambda: list_spool(_view(config)))


@spool.command("show")
def spool_show(association: Association, config: Config = None) -> None:
    """Who opened an association, how far it is, and a line for each object."""
    from receiver.gateway.spooled import show_association

    _tell(lambda: show_association(_view(config), association))


@spool.command("verify")
def spool_verify(config: Config = None) -> None:
    """Read everything in the spool. Exits 1 when something cannot be read; what changes meanwhile is passed over."""
    from receiver.gateway.spooled import verify_spool

    faults = 0
    for line, good in _said(lambda: verify_spool(_view(config))):
        typer.echo(line)
        faults += not good
    if faults:
        raise typer.Exit(1)


@quarantine.command("list")
def quarantine_list(config: Config = None) -> None:
    """One line for each object: its name, bytes, and why it was not imported."""
    _tell(lambda: (f"{one.name}  {one.held.size_bytes} bytes  {one.held.reason}" for one in _quarantine(config).objects()))


@quarantine.command("show")
def quarantine_show(name: Name, config: Config = None) -> None:
    """All that is known of one object."""
    from receiver.gateway.quarantined import describe, find

    _tell(lambda: describe(find(_quarantine(config), name)))


@quarantine.command("export")
def quarantine_export(
    name: Name, to: Annotated[Path, typer.Argument(help="The file to write; must not exist.")], config: Config = None
) -> None:
    """Copy one object, a DICOM file as it was received, which holds patient data."""
    from receiver.gateway.quarantined import export, find

    _said(lambda: export(find(_quarantine(config), name), to))
    typer.echo(f"written to {to}")


@quarantine.command("release")
def quarantine_release(name: Name, config: Config = None) -> None:
    """Send one object to the receiver on this machine again, as an association of its own, and discard the copy then.

    Its command names what its data set says, so that an object whose command named another is imported now.
    What cannot be read, or is too large still, is quarantined again.
    """
    from receiver.gateway.quarantined import find, release

    settings = _settings(config)
    _said(lambda: release(find(_quarantine(config), name), settings))
    typer.echo("the receiver has it; it will be in a new association")


@quarantine.command("discard")
def quarantine_discard(name: Name, config: Config = None) -> None:
    """Remove the copy of one object from this gateway. S3 keeps its own under `quarantine/`."""
    from receiver.gateway.quarantined import find

    _said(lambda: find(_quarantine(config), name).discard())
    typer.echo("discarded")


def echo(
    ae: Annotated[str, typer.Argument(metavar="AE", help="AE@HOST:PORT, or an AE title of AHI_INGEST_COMMITMENT_PEERS.")],
    config: Config = None,
) -> None:
    """Ask a peer whether it answers (C-ECHO)."""
    from receiver.gateway.echo import address_of, verify
    from receiver.listening import client_tls_of

    settings = _settings(config)
    called_ae, address = _said(lambda: address_of(ae, settings.commitment_peers))
    seconds = _said(
        lambda: verify(
            address,
            called_ae=called_ae,
            calling_ae=settings.ae_title,
            timeout_seconds=settings.dimse_timeout_seconds,
            tls=client_tls_of(settings),
        )
    )
    typer.echo(f"{called_ae} at {address.host}:{address.port} answers, in {seconds * 1000:.0f} ms")


def commitments(config: Config = None) -> None:
    """Storage commitment requests whose peers have not been told yet, the oldest first."""
    from receiver.gateway.commitments import list_commitments

    _tell(lambda: list_commitments(_settings(config).spool))


def drain(
    wait_seconds: Annotated[float, typer.Option("--wait", help="How long to wait for the end, in seconds.")] = 3600,
    config: Config = None,
) -> None:
    """Let the receiver reject new associations (2/3/1), upload everything, and end. Exits 1 when something is left.

    Nothing is aborted: open associations take the time that they take. SIGTERM ends it earlier, by its drain timeout.
    """
    from receiver.gateway.draining import drain_receiver

    left = _said(lambda: drain_receiver(_settings(config).spool, wait_seconds, typer.echo))
    if left:
        typer.echo(f"{left} associations are left in the spool; the next start goes on with them", err=True)
        raise typer.Exit(1)
    typer.echo("the receiver has ended, and its spool is empty")


def _settings(config: Path | None) -> Settings:
    from receiver.configuration import read_settings

    return _said(lambda: read_settings(config))


def _view(config: Path | None) -> SpoolView:
    from receiver.filesystem import LocalFileSystem
    from receiver.spool.view import SpoolView

    return SpoolView(_settings(config).spool, LocalFileSystem())


def _quarantine(config: Path | None) -> Quarantine:
    from receiver.spool.quarantine import Quarantine

    return Quarantine(_settings(config).spool)


def _tell(lines: Callable[[], Iterable[str]]) -> None:
    for line in _said(lambda: list(lines())):
        typer.echo(line)


def _said(act: Callable[[], Answer]) -> Answer:
    """What `act` gives; what went wrong as one line and exit code 2."""
    from receiver.gateway.errors import GatewayError
    from receiver.settings import SettingsError

    try:
        return act()
    except (GatewayError, SettingsError) as error:
        text = str(error)
    except OSError as error:
        text = f"{error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": ")
    typer.echo(text, err=True)
    raise typer.Exit(2)
