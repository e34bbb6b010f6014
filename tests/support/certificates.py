"""Certificates for TLS in tests, made by the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path


def make_ca(folder: Path, name: str) -> Certificate:
    """A certificate that may sign others."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = Certificate(folder / f"{name}.pem", folder / f"{name}-key.pem")
    _openssl("req", "-x509", "-days", "2", "-subj", f"/CN={name}", *_new_key(ca), "-out", ca.certificate)
    return ca


def make_certificate(folder: Path, name: str, ca: Certificate) -> Certificate:
    """A certificate for localhost that `ca` signed."""
    made, request = Certificate(folder / f"{name}.pem", folder / f"{name}-key.pem"), folder / f"{name}.csr"
    _openssl("req", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", *_new_key(made), "-out", request)
    _openssl(
        *("x509", "-req", "-days", "2", "-copy_extensions", "copy", "-in", request),
        *("-CA", ca.certificate, "-CAkey", ca.key, "-out", made.certificate),
    )
    return made


def _new_key(for_certificate: Certificate) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", for_certificate.key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
