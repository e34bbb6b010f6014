"""`drain`: the receiver ends by itself once everything is in S3."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from receiver.filesystem import LocalFileSystem, is_locked
from receiver.gateway.errors import GatewayError
from receiver.process import DRAIN_SIGNAL, PID_NAME
from receiver.spool.view import SpoolView

_LOOK_EVERY_SECONDS = 0.2
_TELL_EVERY_SECONDS = 10.0


def drain_receiver(spool: Path, wait_seconds: float, tell: Callable[[str], None]) -> int:
    """How many associations are left when the receiver has ended. Raises GatewayError, OSError."""
    if not is_locked(spool / "lock"):
        raise GatewayError(f"no receiver runs on the spool {spool}")
    pid = int((spool / PID_NAME).read_text())
    try:
        os.kill(pid, DRAIN_SIGNAL)
    except PermissionError:
        raise GatewayError("run this as the receiver's user, or as root") from None
    view = SpoolView(spool, LocalFileSystem())
    deadline, told_at = time.monotonic() + wait_seconds, 0.0
    while is_locked(spool / "lock"):
        if time.monotonic() > deadline:
            raise GatewayError(f"the receiver drains still, after {wait_seconds:g} s; `spool list` shows what is left")
        if time.monotonic() - told_at > _TELL_EVERY_SECONDS:
            told_at = time.monotonic()
            tell(f"{len(view.associations())} associations in the spool")
        time.sleep(_LOOK_EVERY_SECONDS)
    return len(view.associations())
