"""Brings the catalog's tables up to date, and its users, at each deployment -> {applied: [migration ids]}."""

from __future__ import annotations

import os
from typing import Any

from lambdas.catalog import let_in, migrate
from lambdas.handlers.environment import catalog_settings, log


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    settings = catalog_settings()
    applied = migrate(settings)
    if user := os.environ.get("CATALOG_FUNCTIONS_USER"):
        let_in(settings, user)
    log.info("Migrated", applied=applied)
    return {"applied": applied}
