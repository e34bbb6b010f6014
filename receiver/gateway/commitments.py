"""`commitments`: which peers wait for the result of a storage commitment request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from receiver.monitor.commitments import open_commitments


def list_commitments(spool: Path) -> Iterator[str]:
    """A line for each open request, and one for all. Raises OSError."""
    opened = open_commitments(spool)
    for request in opened:
        waits_for = "its report" if request.resolved else "S3"
        requested_at = datetime.fromtimestamp(request.requested_at, UTC)
        yield (
            f"{request.transaction_uid}  {request.peer.calling_ae}  requested {requested_at:%Y-%m-%d %H:%M:%S} UTC  "
            f"waits for {waits_for}  {request.attempts} attempts"
        )
    yield f"{len(opened)} open requests"
