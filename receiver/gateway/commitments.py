"""`commitments`: which peers wait for the result of a storage commitment request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from receiver.commitment.database import Database
from receiver.commitment.requests import Requests
from receiver.committing import DATABASE_NAME


def list_commitments(spool: Path) -> Iterator[str]:
    """A line for each open request, and one for all. Raises OSError."""
    path = spool / DATABASE_NAME
    opened = []
    if path.exists():
        with closing(Database(path)) as database:
            requests = Requests(database, holder="", keep_seconds=0)
            opened = requests.open()
            for request in opened:
                waits_for = "its report" if request.resolved else f"S3: {len(requests.unresolved(request.number))} objects"
                requested_at = datetime.fromtimestamp(request.requested_at, UTC)
                yield (
                    f"{request.transaction_uid}  {request.peer.calling_ae}  requested {requested_at:%Y-%m-%d %H:%M:%S} UTC  "
                    f"waits for {waits_for}  {request.attempts} attempts"
                )
    yield f"{len(opened)} open requests"
