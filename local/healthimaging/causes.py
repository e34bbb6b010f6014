"""Why a file is imported with a warning, by the service's names and codes.

Source: AWS HealthImaging Developer Guide, "Import warnings". Its documents disagree on the codes of InvalidUidFormat (45569
or 45570), InvalidDicomValueLength (45570 or 45571) and Other (49151 or 47513): readers should go by the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WARNING_CODES: Mapping[str, int] = {
    "CoercionOfDataElements": 45056,
    "ElementsDiscarded": 45062,
    "SopClassDataMismatch": 45063,
    "TranscodingException": 45312,
    "FramesExtractionFailure": 45328,
    "FrameNumberMismatch": 45329,
    "InvalidOffsetTable": 45330,
    "UnsupportedTransferSyntax": 45344,
    "InvalidUidFormat": 45569,
    "InvalidDicomValueLength": 45571,
    "Other": 49151,
}


class FileRefusedError(Exception):
    """The object is not imported, by its own fault. The text is the service's message."""


@dataclass(frozen=True)
class FileWarning:
    """A fault that does not keep the object from being imported. `type` is one of WARNING_CODES."""

    type: str
    message: str

    @property
    def reason_code(self) -> int:
        return WARNING_CODES[self.type]
