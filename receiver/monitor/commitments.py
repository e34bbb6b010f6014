"""Storage commitment requests, for who looks at them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from receiver.commitment.database import Database
from receiver.commitment.requests import OpenRequest, Requests
from receiver.committing import DATABASE_NAME


def open_commitments(spool: Path, database: type[Database] = Database) -> list[OpenRequest]:
    """Those whose peers were not told yet, the oldest first. Raises OSError.

    `database`: ReadOnlyDatabase for a process that is none of the receiver's.
    """
    path = spool / DATABASE_NAME
    if not path.exists():
        return []
    with closing(database(path)) as opened:
        return Requests(opened, holder="", keep_seconds=0).open()
