"""Commitment after the import, from a modality to HealthImaging and back, by the deployed function."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pydicom

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.pipeline import WITHIN_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stack import RunningStack


def test_a_modality_is_told_of_its_objects_once_they_are_imported(stack: RunningStack, tmp_path: Path) -> None:
    slices = [pydicom.dcmread(path) for path in ct_series(tmp_path, 3)]
    uids = [str(one.SOPInstanceUID) for one in slices]
    requester, port = Requester("COMMITTER"), stack.dicom_address[1]
    with requester.associated(port) as association:
        for one in slices:
            assert association.send_c_store(one).Status == 0
        status, transaction_uid = ask(association, *uids)
        assert status == 0
    with requester.associated(port):
        told = requester.told(WITHIN_SECONDS)
    assert (told.transaction_uid, told.event_type, told.committed) == (transaction_uid, 1, uids)
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as catalog:
        (known,) = [one for one in catalog.associations() if one.calling_ae == "COMMITTER" and one.objects]
        assert all(one.import_status == "IMPORTED" for one in catalog.stored_objects(known.association))
