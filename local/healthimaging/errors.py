"""The service's errors: named as on the wire, with the HTTP status that goes with each.

ServiceError
 +- x-amzn-ErrorType    the name, one of ERROR_STATUS
 +- HTTP status         ERROR_STATUS[name]
 +- {"message": ...}    the body

Source: AWS HealthImaging API Reference, "Common error types".
"""

from __future__ import annotations

from collections.abc import Mapping

ERROR_STATUS: Mapping[str, int] = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
}


class ServiceError(Exception):
    """An answer that is an error. `name` is one of ERROR_STATUS."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = ERROR_STATUS[name]


def not_found(what: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The {what} does not exist.")


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
