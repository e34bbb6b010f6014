"""Which presentation contexts the receiver accepts (PS3.8 9.3.3.2): promiscuous, and honest about what it is not.

Accepted: Verification, every storage and non-patient-object class, and whatever the DICOM dictionary does not know (private
classes, and classes younger than this program). Refused (result 3): classes that the dictionary knows for something else,
such as query, worklist or MPPS. Of the transfer syntaxes the sender's first is taken, known or not: the data set is kept as
it comes.
"""

from __future__ import annotations

from pydicom._uid_dict import UID_dictionary

from receiver.dicom.pdu import ContextResult, ProposedContext
from receiver.dicom.status import ContextResult as Result

VERIFICATION = b"1.2.840.10008.1.1"

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


def is_for_storage(abstract_syntax: bytes) -> bool:
    """Whether objects may be stored under this abstract syntax; any bytes."""
    return bool(abstract_syntax) and abstract_syntax.decode("latin-1") not in _NOT_FOR_STORAGE


def negotiate(context: ProposedContext) -> ContextResult:
    """The answer to one proposed context."""
    first = context.transfer_syntaxes[0] if context.transfer_syntaxes else b""
    if not is_for_storage(context.abstract_syntax) and context.abstract_syntax != VERIFICATION:
        return ContextResult(context.context_id, Result.ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
    if not first:
        return ContextResult(context.context_id, Result.TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
    return ContextResult(context.context_id, Result.ACCEPTANCE, first)
