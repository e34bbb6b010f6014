"""Codes that the receiver answers with, each with its source."""

from __future__ import annotations

import enum


class StoreStatus(enum.IntEnum):
    """C-STORE response status (PS3.4 B.2.3, PS3.7 C)."""

    SUCCESS = 0x0000
    """The object is kept, durably."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The presentation context is not one for storage."""
    OUT_OF_RESOURCES = 0xA700
    """The disk did not take the object. The sender should try again."""
    CANNOT_UNDERSTAND = 0xC000
    """A C-STORE request that no data set follows."""


UNRECOGNIZED_OPERATION = 0x0211
"""Status of any other command (PS3.7 C.5.14)."""


class ContextResult(enum.IntEnum):
    """Result of a presentation context (PS3.8 9.3.3.2)."""

    ACCEPTANCE = 0
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


REJECTED_LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""Result, source, reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4): transient, presentation-related provider function."""
REJECTED_TEMPORARY_CONGESTION = (0x02, 0x03, 0x01)
"""The same, while the receiver is ending."""
