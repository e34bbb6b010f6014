"""Where the catalog and the receiver are: `endpoints.json` of a running `ahi-ingest up`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Queries, connect


class NotRunningError(Exception):
    """No stack runs on the state folder. The text says what to do."""


def endpoints(state: Path) -> dict[str, Any]:
    """The addresses that `ahi-ingest up --state STATE` wrote. Raises NotRunningError."""
    path = state / "endpoints.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotRunningError(
            f"{path} is not there. Start the pipeline with `ahi-ingest up --state {state}`, "
            "or name the state folder of the one that runs with --state."
        ) from None
    return document


def catalog(state: Path) -> Queries:
    """Questions to the catalog of the stack that runs on `state`. Raises NotRunningError."""
    return connect(CatalogSettings(**endpoints(state)["mysql"], tls="off"))
