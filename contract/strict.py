"""JSON documents to frozen dataclasses and back, strictly.

A document of another version, with a field missing, unknown or of the wrong type is refused with a `ContractError` that
names the field by its path (`parts[0].objects: expected an integer, got a string`) and never quotes a value: values may
hold what must not reach a log. A field with the metadata OPTIONAL is written only when it is not its default, so that a
document that does not use it is read by versions that do not know it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

Document = TypeVar("Document")

OPTIONAL: Mapping[str, bool] = types.MappingProxyType({"optional": True})
"""The metadata of a field that may be missing in a document; it has a default."""


class ContractError(ValueError):
    """A document or identifier that does not keep the contract. Its text is safe to log."""


def to_json(document: Any) -> bytes:
    """The document as compact UTF-8 JSON; the same document always gives the same bytes."""
    return json.dumps(_plain(document), ensure_ascii=False, separators=(",", ":")).encode()


def from_json(kind: type[Document], raw: bytes | str) -> Document:
    """Parse `raw` as one `kind`. Raises ContractError."""
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{kind.__name__}: not JSON in UTF-8 ({type(error).__name__})") from None
    return from_plain(kind, value)


def from_plain(kind: type[Document], value: object) -> Document:
    """`kind` from what `json.loads` gives. Raises ContractError."""
    version = getattr(kind, "VERSION", None)
    if version is not None and isinstance(value, Mapping) and value.get("version") != version:
        raise ContractError(f"{kind.__name__}.version: this program reads version {version} only")
    return typing.cast("Document", _decode(kind, value, kind.__name__))


def utc_now() -> datetime:
    """The time now, in milliseconds, as documents carry it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (_is_optional(field) and getattr(value, field.name) == field.default)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@functools.cache
def _optional(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(kind) if _is_optional(field))


def _is_optional(field: dataclasses.Field[Any]) -> bool:
    return "optional" in field.metadata


def _decode(kind: Any, value: object, path: str) -> object:
    if typing.get_origin(kind) is types.UnionType:  # `X | None`
        inner = next(option for option in typing.get_args(kind) if option is not types.NoneType)
        return None if value is None else _decode(inner, value, path)
    if typing.get_origin(kind) is tuple:
        _expect(isinstance(value, list), "a list", path)
        item_kind = typing.get_args(kind)[0]
        return tuple(_decode(item_kind, item, f"{path}[{at}]") for at, item in enumerate(typing.cast("list[object]", value)))
    if dataclasses.is_dataclass(kind):
        return _decode_document(kind, value, path)
    if kind is datetime:
        return _decode_time(value, path)
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        _expect(value in list(kind), f"one of {', '.join(kind)}", path)
        return kind(typing.cast("str", value))
    _expect(type(value) is kind, f"{'an integer' if kind is int else 'a boolean' if kind is bool else 'a string'}", path)
    return value


def _decode_document(kind: Any, value: object, path: str) -> object:
    _expect(isinstance(value, Mapping), "an object", path)
    given, wanted = typing.cast("Mapping[str, object]", value), _fields(kind)
    if missing := wanted.keys() - given.keys() - _optional(kind):
        raise ContractError(f"{path}: missing {', '.join(sorted(missing))}")
    if unknown := given.keys() - wanted.keys():
        raise ContractError(f"{path}: {len(unknown)} field(s) that this version does not know")
    arguments = {name: _decode(field, given[name], f"{path}.{name}") for name, field in wanted.items() if name in given}
    return kind(**arguments)


def _decode_time(value: object, path: str) -> datetime:
    _expect(isinstance(value, str) and value.endswith("Z"), "a time such as 2026-11-24T02:15:01.000Z", path)
    try:
        return datetime.fromisoformat(typing.cast("str", value))
    except ValueError:
        raise ContractError(f"{path}: expected a time such as 2026-11-24T02:15:01.000Z") from None


def _expect(holds: bool, expected: str, path: str) -> None:
    if not holds:
        raise ContractError(f"{path}: expected {expected}")


def _no_constant(name: str) -> object:
    raise ValueError(name)
