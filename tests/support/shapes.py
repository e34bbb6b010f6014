"""Holds every answer of an emulator against botocore's model of the service: what AWS's would look like, ours must."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.model import OperationModel, Shape, StructureShape


def check_answers(client: BaseClient) -> None:
    """From now on the client raises AssertionError at any answer that the service's model does not allow (rest-json)."""
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}", _check)


def _check(operation_model: OperationModel, response_dict: dict[str, Any], **_: object) -> None:
    where, status, headers = operation_model.name, response_dict["status_code"], response_dict["headers"]
    assert headers["x-amzn-RequestId"], f"{where}: no request id"
    if status >= 300:
        _check_error(operation_model, status, headers["x-amzn-ErrorType"], json.loads(response_dict["body"]))
        return
    assert status == operation_model.http["responseCode"], f"{where}: {status}"
    shape = operation_model.output_shape
    assert shape is not None
    if "payload" not in shape.serialization:
        check_value(where, json.loads(response_dict["body"]), shape)


def _check_error(operation_model: OperationModel, status: int, name: str, body: dict[str, Any]) -> None:
    shape = next((shape for shape in operation_model.error_shapes if shape.name == name), None)
    assert shape is not None, f"{operation_model.name} cannot answer {name}"
    assert status == shape.metadata["error"]["httpStatusCode"], f"{name}: {status}"
    check_value(name, body, shape)


def check_value(where: str, value: Any, shape: Shape) -> None:
    """Raises AssertionError unless `value`, as JSON, is of the shape: members, types, enums, patterns."""
    match shape.type_name:
        case "structure":
            _check_structure(where, value, shape)  # type: ignore[arg-type]  # its type_name says so
        case "list":
            assert isinstance(value, list), f"{where}: {value!r}"
            for item in value:
                check_value(f"{where}[]", item, shape.member)  # type: ignore[attr-defined]
        case "string":
            assert isinstance(value, str), f"{where}: {value!r}"
            assert not shape.enum or value in shape.enum, f"{where}: {value!r} is not in {shape.enum}"  # type: ignore[attr-defined]
            _check_text(where, value, shape)
        case "map":
            assert isinstance(value, dict), f"{where}: {value!r}"
            for key, item in value.items():
                check_value(f"{where}[key]", key, shape.key)  # type: ignore[attr-defined]
                check_value(f"{where}[value]", item, shape.value)  # type: ignore[attr-defined]
        case "timestamp" | "integer" | "long":
            assert type(value) in {int, float}, f"{where}: {value!r}"
        case "boolean":
            assert isinstance(value, bool), f"{where}: {value!r}"
        case other:
            raise AssertionError(f"{where}: this check knows no {other}")


def _check_structure(where: str, value: Any, shape: StructureShape) -> None:
    assert isinstance(value, dict), f"{where}: {value!r}"
    assert set(value) <= set(shape.members), f"{where} has {set(value) - set(shape.members)}, which the model does not"
    assert set(shape.required_members) <= set(value), f"{where} lacks {set(shape.required_members) - set(value)}"
    for name, item in value.items():
        check_value(f"{where}.{name}", item, shape.members[name])


def _check_text(where: str, value: str, shape: Shape) -> None:
    pattern = shape.metadata.get("pattern")
    # A job's message has a second line, and the model's pattern for messages forbids line ends: the service breaks it itself.
    if pattern and shape.name != "Message" and r"\p{" not in pattern:
        assert re.fullmatch(pattern, value), f"{where}: {value!r} does not match {pattern}"
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", len(value))
    assert low <= len(value) <= high, f"{where}: {len(value)} characters"
