"""UIDs as they come from the wire, and the names that are safe in a path or an S3 key.

A UID from the wire is untrusted: it may hold `..`, `/`, NUL or 300 characters. `safe_name` maps any value to one path
segment, and different values to different segments:

- absent (empty)                        -> `_`
- as PS3.5 9.1 writes a UID             -> itself
- anything else                         -> what is harmless of it, at most 40 characters, `-` and 16 hex digits of its SHA-256

No UID holds `-`, so a changed name never meets an unchanged one.
"""

from __future__ import annotations

import hashlib
import re

ABSENT = "_"
UID_MAX_CHARACTERS = 64  # PS3.5 9.1

_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_NOT_HARMLESS = re.compile(r"[^0-9A-Za-z.]")


def uid_from_wire(raw: bytes) -> str:
    """The UID's text: padding (trailing NULs and spaces, PS3.5 6.2 and 9.1) is stripped, any other byte is kept as Latin-1."""
    return raw.rstrip(b"\0 ").decode("latin-1")


def is_uid(value: str) -> bool:
    """Whether the value has the form of a UID (PS3.5 9.1). Leading zeros in a component, which PS3.5 forbids, are let pass."""
    return len(value) <= UID_MAX_CHARACTERS and _UID.fullmatch(value) is not None


def safe_name(uid: str) -> str:
    """One path segment for any value; injective up to SHA-256 (see the module's text)."""
    if not uid:
        return ABSENT
    if is_uid(uid):
        return uid
    fingerprint = hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_NOT_HARMLESS.sub('_', uid)[:40]}-{fingerprint}"
