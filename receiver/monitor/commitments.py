"""Storage commitment requests, for who looks at them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from receiver.commitment.database import Database
from receiver.commitment.requests import OpenRequest, Requests
from receiver.committing import DATABASE_NAME


def open_commitments(spool: Path) -> list[OpenRequest]:
    """Those whose peers were not told yet, the oldest first. Raises OSError."""
    path = spool / DATABASE_NAME
    if not path.exists():
        return []
    with closing(Database(path)) as database:
        return Requests(database, holder="", keep_seconds=0).open()
