"""`commitments`: which peers wait for the result of a storage commitment request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from receiver.commitment.database import DatabaseError, ReadOnlyDatabase
from receiver.gateway.errors import GatewayError
from receiver.monitor.commitments import open_commitments


def list_commitments(spool: Path) -> Iterator[str]:
    """A line for each open request, and one for all. Raises GatewayError."""
    try:
        opened = open_commitments(spool, ReadOnlyDatabase)
    except DatabaseError as error:
        raise GatewayError(f"the commitment database cannot be read: {error}") from None
    for request in opened:
        waits_for = "its report" if request.resolved else "S3"
        requested_at = datetime.fromtimestamp(request.requested_at, UTC)
        yield (
            f"{request.transaction_uid}  {request.peer.calling_ae}  requested {requested_at:%Y-%m-%d %H:%M:%S} UTC  "
            f"waits for {waits_for}  {request.attempts} attempts"
        )
    yield f"{len(opened)} open requests"
