"""Brings the catalog's tables up to date, and its users, at each deployment -> {applied: [migration ids]}."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from lambdas.catalog import CatalogSettings, let_in, migrate
from lambdas.errors import CatalogUnavailableError
from lambdas.handlers.environment import catalog_settings, log

Result = TypeVar("Result")

_PAUSES_SECONDS = (2, 5, 10, 20, 30, 60)
"""A deployment that fails is undone whole: so a cluster that resumes is waited for, or one whose password is being changed."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    applied = _patiently(migrate)
    if user := os.environ.get("CATALOG_FUNCTIONS_USER"):
        _patiently(lambda settings: let_in(settings, user))
    log.info("Migrated", applied=applied)
    return {"applied": applied}


def _patiently(work: Callable[[CatalogSettings], Result]) -> Result:
    """Do the work, with the settings as they are then; again for two minutes while the catalog is away. Raises as the work."""
    for pause in _PAUSES_SECONDS:
        try:
            return work(catalog_settings())
        except CatalogUnavailableError as error:
            log.warning("The catalog is away", error=str(error), again_in_seconds=pause)
            time.sleep(pause)
    return work(catalog_settings())
