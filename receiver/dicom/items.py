"""The items that association requests and answers are made of (PS3.8 9.3.2, PS3.7 D.3.3). UIDs are bytes without padding."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from receiver.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS_UID, _IMPLEMENTATION_VERSION_NAME = 0x51, 0x52, 0x55
_ROLE_SELECTION, _EXTENDED_NEGOTIATION = 0x54, 0x56


class MalformedPduError(ValueError):
    """Bytes that are no PDU or command set. The text says what is wrong and quotes no value."""


class Roles(NamedTuple):
    """Which roles the association's requestor has for a SOP class (PS3.7 D.3.3.4)."""

    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInformation:
    """The user information item; `max_pdu_bytes` is 0 for no limit, the mappings are by SOP class UID."""

    max_pdu_bytes: int = 0
    roles: Mapping[bytes, Roles] = field(default_factory=dict)
    extended: Mapping[bytes, bytes] = field(default_factory=dict)
    """SOP class extended negotiation: the service class's own bytes (PS3.7 D.3.3.5)."""

    @classmethod
    def parse(cls, data: bytes) -> UserInformation:
        """From the item's value; what is not known is passed over. Raises MalformedPduError."""
        max_pdu_bytes, roles, extended = 0, {}, {}
        for kind, value in items(data):
            if kind == _MAXIMUM_LENGTH and len(value) == 4:
                max_pdu_bytes = int.from_bytes(value, "big")
            elif kind == _ROLE_SELECTION:
                uid, rest = _uid_and_rest(value)
                if len(rest) < 2:
                    raise MalformedPduError("a role selection without roles")
                roles[uid] = Roles(rest[0] == 1, rest[1] == 1)
            elif kind == _EXTENDED_NEGOTIATION:
                uid, extended_value = _uid_and_rest(value)
                extended[uid] = extended_value
        return cls(max_pdu_bytes=max_pdu_bytes, roles=roles, extended=extended)

    def encode(self) -> bytes:
        """The item's value, with our implementation's name."""
        return (
            item(_MAXIMUM_LENGTH, struct.pack(">I", self.max_pdu_bytes))
            + item(_IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_CLASS_UID.encode())
            + b"".join(item(_ROLE_SELECTION, _prefixed(uid) + bytes(roles)) for uid, roles in self.roles.items())
            + item(_IMPLEMENTATION_VERSION_NAME, IMPLEMENTATION_VERSION_NAME.encode())
            + b"".join(item(_EXTENDED_NEGOTIATION, _prefixed(uid) + value) for uid, value in self.extended.items())
        )


def item(kind: int, value: bytes) -> bytes:
    """An item or sub-item: type, reserved, length, value."""
    return struct.pack(">BxH", kind, len(value)) + value


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each item. Raises MalformedPduError."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise MalformedPduError("an item that ends within its header")
        kind, length = struct.unpack_from(">BxH", data, at)
        at += 4 + length
        if at > len(data):
            raise MalformedPduError("an item that is longer than what holds it")
        yield kind, data[at - length : at]


def _prefixed(uid: bytes) -> bytes:
    return struct.pack(">H", len(uid)) + uid


def _uid_and_rest(value: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(value[:2], "big")
    if len(value) < 2 + length:
        raise MalformedPduError("a UID that is longer than its item")
    return value[2 : 2 + length].rstrip(b"\0 "), value[2 + length :]
