"""Where things are: `endpoints.json` of a running `ahi-ingest up`, or the environment for a catalog on AWS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

DEFAULT_STATE = Path(os.environ.get("AHI_INGEST_STATE", ".ahi-ingest"))


class NotRunningError(Exception):
    """No stack runs on the state folder. The text says what to do."""


def endpoints(state: Path) -> dict[str, Any]:
    """The addresses that `ahi-ingest up --state STATE` wrote. Raises NotRunningError."""
    path = state / "endpoints.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotRunningError(
            f"{path} is not there: start the pipeline with `ahi-ingest up --state {state}`, "
            "or name the state folder of the one that runs with --state"
        ) from None
    return document
