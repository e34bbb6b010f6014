"""Codes that the receiver answers with, each with its source."""

from __future__ import annotations

import enum
from typing import NamedTuple


class StoreStatus(enum.IntEnum):
    """C-STORE response status (PS3.4 B.2.3, PS3.7 Annex C)."""

    SUCCESS = 0x0000
    """The object is kept, durably."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The presentation context is not one for storage (PS3.7 Annex C)."""
    NOT_AUTHORIZED = 0x0124
    """The calling AE may open associations, and store nothing (PS3.7 Annex C)."""
    OUT_OF_RESOURCES = 0xA700
    """The disk did not take the object. The sender should try again."""
    DATA_SET_DIFFERS = 0xA900
    """The data set's SOP class or instance is not the command's."""
    CANNOT_UNDERSTAND = 0xC000
    """A data set that cannot be parsed, or a C-STORE request that no data set follows."""


class EchoStatus(enum.IntEnum):
    """C-ECHO response status (PS3.7 9.1.5.1.4)."""

    SUCCESS = 0x0000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The presentation context is not one for verification."""


class ActionStatus(enum.IntEnum):
    """N-ACTION response status (PS3.7 10.1.4 and Annex C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_SOP_INSTANCE = 0x0112
    INVALID_ARGUMENT_VALUE = 0x0115
    NO_SUCH_ACTION = 0x0123
    RESOURCE_LIMITATION = 0x0213


class FailureReason(enum.IntEnum):
    """Why an object is not committed (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    """It was received, and quarantined."""
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    """It was never received, or too long ago."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """It was received as an object of another class."""
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213
    """It may have been received, and S3 could not take it in time."""


UNRECOGNIZED_OPERATION = 0x0211
"""Status of a command that the receiver does not serve (PS3.7 Annex C)."""


class ContextResult(enum.IntEnum):
    """Result of a presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class Rejection(NamedTuple):
    """Result (1 permanent, 2 transient), source (1 service user, 3 presentation provider) and reason of an A-ASSOCIATE-RJ.

    The values are PS3.8 Table 9-21's.
    """

    result: int
    source: int
    reason: int


NO_REASON = Rejection(1, 1, 1)
"""The peer's network is not one of the allowed."""
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2)
CALLING_AE_NOT_RECOGNIZED = Rejection(1, 1, 3)
CALLED_AE_NOT_RECOGNIZED = Rejection(1, 1, 7)
TEMPORARY_CONGESTION = Rejection(2, 3, 1)
"""The receiver is ending, or its disk is below the reserve."""
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2)
"""Too many associations: of this peer, or at all."""
