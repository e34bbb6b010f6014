"""TLS as DICOM asks for it: PS3.15 B.12, the BCP 195 (RFC 9325) profile."""

from __future__ import annotations

import ssl
from pathlib import Path

_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # forward secrecy and AEAD alone; TLS 1.3 has nothing else


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """For a port of ours. With `client_ca`, a client must present a certificate that it signed. All are PEM files.

    Raises OSError, of which ssl.SSLError is a kind, when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context
