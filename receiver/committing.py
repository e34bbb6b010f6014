"""The storage commitment of a receiver, made of its settings."""

from __future__ import annotations

import contextlib
import logging
import secrets

from receiver.commitment.database import DamagedError, Database
from receiver.commitment.imports import ImportService
from receiver.commitment.ledger import Ledger
from receiver.commitment.requests import Requests
from receiver.commitment.service import Commitments
from receiver.filesystem import LocalFileSystem
from receiver.listening import client_tls_of
from receiver.settings import Settings
from receiver.spool.view import SpoolView

DATABASE_NAME = "commitment.sqlite"
_SECONDS_PER_DAY = 86_400.0

_log = logging.getLogger(__name__)


def make_commitment(settings: Settings, *, shared: bool) -> StorageCommitment | None:
    """None where the settings offer no storage commitment, and where its database cannot be opened: receiving goes on.

    Raises SettingsError.
    """
    if not settings.commitment_keep_days:
        return None
    try:
        return StorageCommitment(settings, shared=shared)
    except OSError as error:
        _log.error("no storage commitment until the next start", extra={"error": str(error)})
        return None


class StorageCommitment:
    """What the uploads tell, and what associations ask. `start` and `stop`, once each."""

    def __init__(self, settings: Settings, *, shared: bool) -> None:
        """Of the spool that exists already; `shared` with sibling processes. Raises OSError."""
        keep_seconds = settings.commitment_keep_days * _SECONDS_PER_DAY
        self._database = Database(settings.spool / DATABASE_NAME)
        self.ledger = Ledger(self._database, keep_seconds=keep_seconds)
        requests = Requests(self._database, holder=secrets.token_hex(8), keep_seconds=keep_seconds)
        if not shared:
            with contextlib.suppress(DamagedError):  # nothing is held in the new one
                requests.let_go_of_all()
        self.provider = Commitments(
            self.ledger,
            requests,
            SpoolView(settings.spool, LocalFileSystem()),
            settings.commitment_peers,
            deadline_seconds=settings.commitment_deadline_seconds,
            retry_max_seconds=settings.commitment_retry_max_seconds,
            dimse_seconds=settings.dimse_timeout_seconds,
            tls=client_tls_of(settings),
            import_service=_import_service(settings),
        )

    def start(self) -> None:
        self.ledger.start()
        self.provider.start()

    def stop(self) -> None:
        """Called when no uploads and no associations are left."""
        self.provider.stop()
        self.ledger.stop()
        self._database.close()


def _import_service(settings: Settings) -> ImportService | None:
    if settings.commitment_after != "healthimaging":
        return None
    from receiver.aws import ImportFunction  # noqa: PLC0415 - boto3 is slow to import, and not asked for here otherwise

    return ImportFunction(settings.commitment_function)
