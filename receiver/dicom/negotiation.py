"""Which presentation contexts the receiver accepts (PS3.8 9.3.3.2): promiscuous, and honest about what it is not.

Accepted: Verification, Storage Commitment, every storage and non-patient-object class, and whatever the DICOM dictionary does
not know (private classes, and classes younger than this program). Refused (result 3): classes that the dictionary knows for
something else, such as query, worklist or MPPS. Of the transfer syntaxes the sender's first is taken, unless the settings
prefer another; known or not, since the data set is kept as it comes. Only the JPIP referenced ones are not taken (result 4):
they carry a URL in place of the pixels.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from pydicom._uid_dict import UID_dictionary

from receiver.dicom.items import Roles, UserInformation
from receiver.dicom.pdu import MAX_PDU_BYTES, AssociateRq, ContextResult, ProposedContext
from receiver.dicom.status import ContextResult as Result

VERIFICATION = b"1.2.840.10008.1.1"
STORAGE_COMMITMENT = b"1.2.840.10008.1.20.1"  # Push Model
IMPLICIT_VR, EXPLICIT_VR = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"  # little endian both

_STORAGE_IN_NAME_ONLY = frozenset(
    (
        "1.2.840.10008.1.3.10",  # Media Storage Directory: stands on media, is never sent
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
    )
)
_NOT_FOR_STORAGE = frozenset(
    uid
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind != "SOP Class" or "Storage" not in name or uid in _STORAGE_IN_NAME_ONLY
)
_JPIP_REFERENCED = frozenset(
    f"1.2.840.10008.1.2.4.{number}".encode()
    for number in (94, 95, 204, 205)  # JPIP, JPIP Deflate, JPIP HTJ2K, JPIP HTJ2K Deflate
)
_LEVEL_2_NO_COERCION = bytes((2, 0, 0, 0, 0, 0))
"""Storage service class application information (PS3.4 B.3.1): all elements kept, signatures unspecified, none coerced."""


class Service(enum.Enum):
    """What an accepted presentation context is for."""

    VERIFICATION = enum.auto()
    STORAGE = enum.auto()
    COMMITMENT = enum.auto()


def service_of(abstract_syntax: bytes) -> Service | None:
    """What the receiver does under this abstract syntax, any bytes; None for nothing."""
    if abstract_syntax == VERIFICATION:
        return Service.VERIFICATION
    if abstract_syntax == STORAGE_COMMITMENT:
        return Service.COMMITMENT
    known_for_something_else = abstract_syntax.decode("latin-1") in _NOT_FOR_STORAGE
    return None if not abstract_syntax or known_for_something_else else Service.STORAGE


class Negotiation:
    """Answers to proposals, all by one rule."""

    def __init__(self, preferred_transfer_syntaxes: Sequence[str] = (), *, commits: bool = True) -> None:
        """The best first; where none of them is proposed, the sender's order decides. `commits`: storage commitment."""
        self._preferred = tuple(uid.encode() for uid in preferred_transfer_syntaxes)
        self._commits = commits

    def answer(self, request: AssociateRq) -> tuple[list[ContextResult], UserInformation]:
        """The answer to every proposed context, in their order, and ours to the user information."""
        asked = request.user_information
        results = [self._context(context, asked.roles.get(context.abstract_syntax)) for context in request.contexts]
        accepted = {
            context.abstract_syntax
            for context, result in zip(request.contexts, results, strict=True)
            if result.result == Result.ACCEPTANCE
        }
        return results, UserInformation(
            max_pdu_bytes=MAX_PDU_BYTES,
            roles={uid: Roles(scu=roles.scu, scp=False) for uid, roles in asked.roles.items() if uid in accepted},
            extended={
                uid: _LEVEL_2_NO_COERCION for uid in asked.extended if uid in accepted and service_of(uid) is Service.STORAGE
            },
        )

    def _context(self, context: ProposedContext, roles: Roles | None) -> ContextResult:
        service = service_of(context.abstract_syntax)
        if service is Service.COMMITMENT and not self._commits:
            service = None
        syntax = self._transfer_syntax(context.transfer_syntaxes, service)
        if service is None:
            result = Result.ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif not syntax:
            result = Result.TRANSFER_SYNTAXES_NOT_SUPPORTED
        elif roles is not None and not roles.scu:  # the peer would only serve, and we use nothing
            result = Result.USER_REJECTION
        else:
            return ContextResult(context.context_id, Result.ACCEPTANCE, syntax)
        return ContextResult(context.context_id, result, context.transfer_syntaxes[0] if context.transfer_syntaxes else b"")

    def _transfer_syntax(self, proposed: Sequence[bytes], service: Service | None) -> bytes:
        """The one to use, empty when there is none."""
        if service is Service.COMMITMENT:  # whose data sets are ours to read
            usable = [syntax for syntax in proposed if syntax in {IMPLICIT_VR, EXPLICIT_VR}]
        else:
            usable = [syntax for syntax in proposed if syntax and syntax not in _JPIP_REFERENCED]
        return next((syntax for syntax in self._preferred if syntax in usable), usable[0] if usable else b"")
