"""The association id: the one trace id from the wire to the image set.

`20261124T021501Z-CT_ROOM_1-9f3c2a71`: when the association was opened (UTC, the edge's clock, for people only: order in
time comes from elsewhere), the calling AE title with anything unusual replaced, and 32 random bits. At most 42
characters, so that names derived from it keep within 48 and AWS's 64 and 80.
"""

from __future__ import annotations

import enum
import re
import secrets
from datetime import UTC, datetime

from contract.strict import ContractError

ASSOCIATION_ID_MAX_CHARACTERS = 48
_ASSOCIATION_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9._]{1,16}-[0-9a-f]{8}", re.ASCII)
_EDGE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._]")


class Ending(enum.StrEnum):
    """How an association ended, as the manifest says it."""

    RELEASED = "released"
    """A-RELEASE: the sender said that it was done (PS3.8 7.2)."""
    ABORTED = "aborted"
    """A-ABORT by either side (PS3.8 7.3)."""
    LOST = "lost"
    """The connection went away without a word."""
    IDLE = "idle"
    """Nothing was heard for the idle timeout, and the receiver ended it."""
    RECOVERED = "recovered"
    """The receiver itself died: found unfinished at its next start."""


def new_association_id(calling_ae: str, opened_at: datetime) -> str:
    """A new id for an association that `calling_ae` opened at `opened_at`."""
    ae = _NOT_IN_ID.sub("_", calling_ae.strip())[:16] or "_"
    return f"{opened_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{ae}-{secrets.token_hex(4)}"


def check_association_id(value: str) -> str:
    """The value itself. Raises ContractError when it is no association id."""
    if _ASSOCIATION_ID.fullmatch(value) is None:
        raise ContractError("association: expected an id such as 20261124T021501Z-CT_ROOM_1-9f3c2a71")
    return value


def check_edge_id(value: str) -> str:
    """The value itself. Raises ContractError when it is no edge id."""
    if _EDGE_ID.fullmatch(value) is None:
        raise ContractError("edge: expected up to 32 of a-z, 0-9 and '-', beginning with a letter or digit")
    return value
