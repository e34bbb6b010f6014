"""Who issued the PatientIDs that come without an issuer: the default of the calling AE title at an edge, else of the edge.

Two hospitals may both have a patient 1234. Without a default issuer for the edges, those are one patient to the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from contract.strict import ContractError

DefaultIssuers = Mapping[str, str]
"""Issuers by `EDGE` and by `EDGE/AE_TITLE`."""


def parse_issuers(text: str) -> DefaultIssuers:
    """The JSON object of the environment's DEFAULT_ISSUERS. Raises ContractError."""
    try:
        issuers = json.loads(text)
    except ValueError:
        issuers = None
    if not isinstance(issuers, dict) or not all(isinstance(issuer, str) for issuer in issuers.values()):
        raise ContractError("DEFAULT_ISSUERS: expected a JSON object of issuers by edge, or by edge/AE title")
    return issuers


def default_issuer(issuers: DefaultIssuers, edge: str, calling_ae: str | None) -> str:
    """The issuer for what an AE title sent to an edge; empty when none is set. Spaces around an AE title mean nothing."""
    return issuers.get(f"{edge}/{(calling_ae or '').strip()}") or issuers.get(edge, "")
