"""Brings the catalog's tables up to date, at each deployment -> {applied: [migration ids]}."""

from __future__ import annotations

from typing import Any

from lambdas.catalog import migrate
from lambdas.handlers.environment import catalog_settings, log


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    applied = migrate(catalog_settings())
    log.info("Migrated", applied=applied)
    return {"applied": applied}
