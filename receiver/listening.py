"""The listener of a receiver, made of its settings."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import NamedTuple

from receiver.dicom.admission import Admission, AdmissionRules
from receiver.dicom.counts import LocalCounts, SharedCounts
from receiver.dicom.host import Timeouts
from receiver.dicom.listener import Listener, Port, open_port
from receiver.dicom.pace import SlowestPace
from receiver.dicom.reports import CommitmentProvider
from receiver.dicom.tls import client_context, server_context
from receiver.dicom.visitor import Acceptor
from receiver.settings import Settings, SettingsError


class Sockets(NamedTuple):
    """What listens without TLS, and with TLS; None where a setting says that nothing does."""

    plain: socket.socket | None
    tls: socket.socket | None


def open_sockets(settings: Settings) -> Sockets:
    """Listen on the ports of the settings. Raises OSError."""
    plain = open_port(settings.host, settings.port) if settings.port >= 0 else None
    try:
        return Sockets(plain, open_port(settings.host, settings.tls_port) if settings.tls_port >= 0 else None)
    except OSError:
        if plain is not None:
            plain.close()
        raise


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """How TLS is spoken on its port; None when there is no such port. Raises SettingsError."""
    if settings.tls_port < 0:
        return None
    assert settings.tls_certificate is not None and settings.tls_key is not None  # noqa: S101, PT018 - Settings checked
    with _files_of_tls():
        return server_context(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def client_tls_of(settings: Settings) -> ssl.SSLContext | None:
    """How TLS is spoken on associations of ours; None when no peer is reached so. Raises SettingsError."""
    if not any(address.tls for address in settings.commitment_peers.values()):
        return None
    with _files_of_tls():
        return client_context(settings.tls_client_ca, settings.tls_certificate, settings.tls_key)


@contextlib.contextmanager
def _files_of_tls() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            "AHI_INGEST_TLS_CERTIFICATE, AHI_INGEST_TLS_KEY or AHI_INGEST_TLS_CLIENT_CA cannot be used "
            f"({error.strerror or type(error).__name__}): give readable PEM files, the key without a password."
        ) from None


def make_listener(
    settings: Settings,
    sockets: Sockets,
    tls: ssl.SSLContext | None,
    acceptor: Acceptor,
    commitments: CommitmentProvider | None,
    *,
    shared: bool,
    has_room: Callable[[], bool],
) -> Listener:
    """A listener that is not started yet. `shared`: siblings accept on the sockets too, and count with us. Raises OSError."""
    ports = [Port(sockets.plain, None)] if sockets.plain else []
    ports += [Port(sockets.tls, tls)] if sockets.tls else []
    rules = AdmissionRules(
        calling_ae_titles=settings.calling_ae_titles,
        called_ae_titles=settings.called_ae_titles,
        storing_ae_titles=settings.storing_ae_titles,
        networks=settings.networks,
        max_associations=settings.max_associations,
        max_associations_per_ae=settings.max_associations_per_ae,
        max_associations_per_address=settings.max_associations_per_address,
    )
    counts = SharedCounts(settings.spool / "associations") if shared else LocalCounts()
    return Listener(
        acceptor,
        Admission(rules, counts, has_room=has_room),
        commitments,
        ports,
        shared=shared,
        ae_title=settings.ae_title,
        timeouts=Timeouts(
            idle=settings.idle_timeout_seconds,
            artim=settings.artim_timeout_seconds,
            dimse=settings.dimse_timeout_seconds,
            slowest=SlowestPace(settings.slowest_bytes_per_second, settings.slowest_seconds),
        ),
        preferred_transfer_syntaxes=settings.transfer_syntax_preference,
    )
