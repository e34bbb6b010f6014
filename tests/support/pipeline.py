"""What end-to-end tests ask of a running stack: send, wait for verdicts, look into the catalog."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from local.demo.steps import has_ended
from receiver.dicom.sender import SendResult, send
from tests.support.dicom import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambdas.catalog.queries import Association, Queries
    from tests.support.stack import RunningStack

WITHIN_SECONDS = 180


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return once it holds; fail, saying what did not come true, after WITHIN_SECONDS."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not {what} in {WITHIN_SECONDS} s"
        time.sleep(0.2)


def ended(catalog: Queries, calling_ae: str, count: int = 1) -> list[Association]:
    """The associations of an AE title, oldest first, once there are `count` and each has a verdict."""

    def found() -> list[Association]:
        return [row for row in reversed(catalog.associations()) if row.calling_ae == calling_ae and has_ended(row)]

    wait_until(lambda: len(found()) >= count, f"{count} association(s) of {calling_ae} ended")
    assert len(found()) == count
    return found()


def sending(stack: RunningStack, paths: list[Path], calling_ae: str) -> Iterator[SendResult]:
    """Send files to the stack's receiver, each result as it is answered."""
    host, port = stack.dicom_address
    return send(paths, host=host, port=port, calling_ae=calling_ae, called_ae="ANY")


def announce(stack: RunningStack, message: bytes) -> None:
    """Put a message into `inbound`, as the receiver does."""
    stack.aws.sqs.send_message(QueueUrl=stack.endpoints["queues"]["inbound"], MessageBody=message.decode())


def ct_small_with_uids_of_their_own(count: int, **attributes: str) -> list[bytes]:
    """So many Part 10 files, each another instance of CT_small's series, but for these attributes."""
    files = []
    for _ in range(count):
        data = pydicom.dcmread(BUNDLED / "test_files" / "CT_small.dcm")
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        for keyword, value in attributes.items():
            setattr(data, keyword, value)
        file = BytesIO()
        data.save_as(file)
        files.append(file.getvalue())
    return files
