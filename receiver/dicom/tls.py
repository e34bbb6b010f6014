"""TLS as DICOM asks for it: PS3.15 B.12, the BCP 195 (RFC 9325) profile."""

from __future__ import annotations

import ssl
from pathlib import Path

_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # forward secrecy and AEAD alone; TLS 1.3 has nothing else


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """For a port of ours. With `client_ca`, a client must present a certificate that it signed. All are PEM files.

    Raises OSError, of which ssl.SSLError is a kind, when a file cannot be used.
    """
    context = _by_profile(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """For associations of ours: with peers whose certificate `ca` signed, or else one of the system's, and names their host.

    `certificate` and `key` are ours, for peers that ask. All are PEM files. Raises OSError.
    """
    context = _by_profile(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if ca is not None:
        context.load_verify_locations(ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def _by_profile(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context
