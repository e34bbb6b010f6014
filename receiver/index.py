"""What a stored object says about itself: the digest of its data set, the UIDs that its key is built of, what is wrong with it.

Found by the uploader in one pass over the file, not while the object arrives: the file is read there anyway, in another
thread, and the sender does not wait for a hash. It follows from the file alone, so that it is found again after a crash.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO

from receiver.filesystem import Chunk
from receiver.part10 import Head, read_head
from receiver.validation import Validation

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ObjectIndex:
    """UIDs are raw values, empty when absent or unreadable. `digest` is SHA-256 in hex, of the data set alone.

    `fault` says why the object must not be imported, empty when nothing is wrong; `checked` whether all of it was looked at.
    """

    digest: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    fault: str
    checked: bool


def index_object(open_file: Callable[[], IO[bytes]]) -> ObjectIndex:
    """Index a file that the receiver wrote. Raises OSError, and Part10Error when something else wrote it."""
    with open_file() as file:
        head = read_head(file)
        file.seek(head.data_set_offset)
        return _index(head, iter(lambda: file.read(_CHUNK_BYTES), b""))


def index_bytes(content: bytes) -> ObjectIndex:
    """Index a file whose content was read already, without copying it. Raises Part10Error."""
    head = read_head(io.BytesIO(content))
    return _index(head, [memoryview(content)[head.data_set_offset :]])


def _index(head: Head, data_set: Iterable[Chunk]) -> ObjectIndex:
    digest, validation = hashlib.sha256(), Validation(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax_uid)
    for chunk in data_set:
        digest.update(chunk)
        validation.feed(chunk)
    fault = validation.end()
    study, series = validation.study_and_series
    return ObjectIndex(
        digest=digest.hexdigest(),
        sop_class_uid=head.sop_class_uid,
        sop_instance_uid=head.sop_instance_uid,
        study_instance_uid=study,
        series_instance_uid=series,
        transfer_syntax_uid=head.transfer_syntax_uid,
        fault=fault.reason if fault else "",
        checked=validation.complete or fault is not None,
    )
