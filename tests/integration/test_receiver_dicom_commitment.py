"""Storage commitment, with pynetdicom as the requester: who is told what, over which association, through outages, restarts."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from contract import Ending
from local.aws import Aws
from local.processes import free_port
from receiver.cloud import CloudUnavailableError
from receiver.dicom import pdu
from receiver.dicom.client import Address
from receiver.dicom.negotiation import IMPLICIT_VR, STORAGE_COMMITMENT
from receiver.filesystem import LocalFileSystem
from tests.support.cloud import FakeCloud
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.receiver import (
    CT,
    EXPLICIT,
    Edge,
    EdgeProcess,
    RawPeer,
    association_folders,
    running_edge,
    small_data_set,
)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    with running_edge(tmp_path) as running:
        yield running


@pytest.fixture
def slices(tmp_path: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in ct_series(tmp_path / "ct", 3)]


def test_objects_are_committed_on_the_association_that_stored_them(edge: Edge, slices: list[pydicom.FileDataset]) -> None:
    requester = Requester()
    uids = [str(one.SOPInstanceUID) for one in slices]
    with requester.associated(edge.port) as association:
        for one in slices[:2]:
            assert association.send_c_store(one).Status == 0
        status, transaction_uid = ask(association, *uids[:2])
        assert status == 0
        told = requester.told()
        assert (told.transaction_uid, told.event_type, told.committed, told.failed) == (transaction_uid, 1, uids[:2], {})
        assert association.send_c_echo().Status == 0
        assert association.send_c_store(slices[2]).Status == 0
        assert ask(association, uids[2])[0] == 0
        assert requester.told().committed == uids[2:]
    (announced,) = edge.announced()
    assert (announced.manifest.ending, len(announced.entries)) == (Ending.RELEASED, 3)


def test_what_is_not_kept_is_named_with_its_reason(edge: Edge, slices: list[pydicom.FileDataset]) -> None:
    good, bad, other = (str(one.SOPInstanceUID) for one in slices)
    peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,))})
    assert peer.store(bad.encode(), b"\xff" * 40) == 0  # no data set: acknowledged, and quarantined
    peer.release()
    requester = Requester()
    with requester.associated(edge.port) as association:
        assert association.send_c_store(slices[0]).Status == 0
        assert association.send_c_store(slices[2]).Status == 0
        status, transaction_uid = ask(association, good, bad, "1.2.3.999")
        assert status == 0
        told = requester.told()
        assert (told.event_type, told.committed, told.failed) == (2, [good], {bad: 0x0110, "1.2.3.999": 0x0112})
        assert ask(association, other, sop_class="1.2.840.10008.5.1.4.1.1.4")[0] == 0
        assert requester.told().failed == {other: 0x0119}
        assert ask(association, good, transaction_uid=transaction_uid) == (0, transaction_uid)
        again = requester.told()
        assert (again.event_type, again.failed) == (2, {good: 0x0131})


def test_objects_on_their_way_are_waited_for(tmp_path: Path, slices: list[pydicom.FileDataset]) -> None:
    requester, cloud = Requester(), FakeCloud()
    cloud.failure = CloudUnavailableError("down")
    with running_edge(tmp_path, cloud, idle_timeout_seconds=0.5) as edge, requester.associated(edge.port) as association:
        assert association.send_c_store(slices[0]).Status == 0
        assert ask(association, str(slices[0].SOPInstanceUID))[0] == 0
        with pytest.raises(queue.Empty):
            requester.told(within_seconds=2)  # longer than a silent peer would be let be
        cloud.failure = None
        assert requester.told().event_type == 1


class ChoosyCloud(FakeCloud):
    """Does not take the object whose SOP Instance UID is `refused`."""

    refused = ""

    def put_bytes(self, key: str, content: bytes) -> None:
        if self.refused and key.endswith(f"{self.refused}.dcm"):
            raise CloudUnavailableError("down")
        super().put_bytes(key, content)


def test_an_object_whose_upload_fails_is_waited_for_though_later_ones_are_in_s3(
    tmp_path: Path, slices: list[pydicom.FileDataset]
) -> None:
    requester, cloud = Requester(), ChoosyCloud()
    cloud.refused = str(slices[0].SOPInstanceUID)
    with running_edge(tmp_path, cloud) as edge, requester.associated(edge.port) as association:
        assert association.send_c_store(slices[0]).Status == 0
        assert ask(association, str(slices[0].SOPInstanceUID))[0] == 0
        with pytest.raises(queue.Empty):
            requester.told(within_seconds=2)
        for one in slices[1:]:
            assert association.send_c_store(one).Status == 0
        with pytest.raises(queue.Empty):
            requester.told(within_seconds=2)
        cloud.refused = ""
        assert requester.told().committed == [str(slices[0].SOPInstanceUID)]


def test_what_a_sibling_left_in_the_spool_is_not_told_as_never_received(
    tmp_path: Path, slices: list[pydicom.FileDataset]
) -> None:
    """It died before it wrote down that there was an object, and nobody has taken up its folder yet."""
    cloud = FakeCloud()
    cloud.failure = CloudUnavailableError("down")
    with running_edge(tmp_path, cloud, drain_timeout_seconds=0) as edge, Requester().associated(edge.port) as association:
        assert association.send_c_store(slices[0]).Status == 0
    cloud.failure = None
    (tmp_path / "spool" / "commitment.sqlite").unlink()
    requester, uid = Requester(), str(slices[0].SOPInstanceUID)
    (left,) = association_folders(tmp_path / "spool")
    release = LocalFileSystem().lock(left.parent / "lock")
    assert release is not None
    with running_edge(tmp_path, cloud) as edge, requester.associated(edge.port) as association:
        assert ask(association, uid)[0] == 0
        with pytest.raises(queue.Empty):
            requester.told(within_seconds=2)
        release()
        edge.receiver._recover()
        assert requester.told().committed == [uid]


def test_objects_that_s3_does_not_take_in_time_fail_for_want_of_resources(
    tmp_path: Path, slices: list[pydicom.FileDataset]
) -> None:
    requester, cloud = Requester(), FakeCloud()
    cloud.failure = CloudUnavailableError("down")
    with (
        running_edge(tmp_path, cloud, commitment_deadline_seconds=0.5, drain_timeout_seconds=0.5) as edge,
        requester.associated(edge.port) as association,
    ):
        assert association.send_c_store(slices[0]).Status == 0
        uid = str(slices[0].SOPInstanceUID)
        assert ask(association, uid)[0] == 0
        assert requester.told().failed == {uid: 0x0213}


def test_who_released_is_called_at_the_address_in_the_table(tmp_path: Path, slices: list[pydicom.FileDataset]) -> None:
    requester, cloud = Requester(), FakeCloud()
    cloud.failure = CloudUnavailableError("down")
    with (
        requester.listening() as port,
        running_edge(tmp_path, cloud, commitment_peers={"MODALITY": Address("127.0.0.1", port)}) as edge,
    ):
        with requester.associated(edge.port) as association:
            assert association.send_c_store(slices[0]).Status == 0
            assert ask(association, str(slices[0].SOPInstanceUID))[0] == 0
        cloud.failure = None
        assert requester.told().committed == [str(slices[0].SOPInstanceUID)]


def test_who_has_no_address_is_told_on_its_next_association(edge: Edge, slices: list[pydicom.FileDataset]) -> None:
    requester, stranger = Requester(), Requester("OTHER")
    with requester.associated(edge.port) as association:
        assert association.send_c_store(slices[0]).Status == 0
        assert ask(association, str(slices[0].SOPInstanceUID))[0] == 0
    edge.announced()
    with stranger.associated(edge.port) as elsewhere, requester.associated(edge.port):
        assert requester.told().committed == [str(slices[0].SOPInstanceUID)]
        assert elsewhere.is_established
        assert stranger.reports.empty()


def test_a_request_survives_restarts_and_the_folder_and_is_answered_once(
    tmp_path: Path, slices: list[pydicom.FileDataset]
) -> None:
    requester, cloud, port = Requester(), FakeCloud(), free_port()
    uid, peers = str(slices[0].SOPInstanceUID), {"MODALITY": Address("127.0.0.1", port)}
    with running_edge(tmp_path, cloud, commitment_peers=peers, dimse_timeout_seconds=1) as edge:
        with requester.associated(edge.port) as association:
            assert association.send_c_store(slices[0]).Status == 0
        edge.announced()  # and its folder is gone
        with requester.associated(edge.port) as association:
            assert ask(association, uid, generate_uid())[0] == 0
    with running_edge(tmp_path, cloud, commitment_peers={}) as edge, requester.associated(edge.port) as association:
        told = requester.told()
        assert (told.committed, list(told.failed.values())) == ([uid], [0x0112])
    with running_edge(tmp_path, cloud) as edge, requester.associated(edge.port) as association:
        assert ask(association, uid)[0] == 0
        assert requester.told().committed == [uid]  # and not the first once more
        assert requester.reports.empty()


def test_an_answer_is_waited_for_and_asked_for_again_elsewhere(tmp_path: Path) -> None:
    """A peer that takes requests and never answers a report is told over another association."""
    requester = Requester("RAW")
    with requester.listening() as port:
        peers = {"RAW": Address("127.0.0.1", port)}
        with running_edge(tmp_path, commitment_peers=peers, dimse_timeout_seconds=0.5) as edge:
            peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,)), 3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))})
            assert peer.store(b"1.9", small_data_set()) == 0
            peer.sock.sendall(raw_request(3, b"1.9"))
            assert peer.status() == 0
            assert [peer.receive()[0] for _ in range(2)] == [pdu.P_DATA_TF] * 2  # the report, which it does not answer
            assert requester.told().committed == ["1.9"]
            peer.release()


def raw_request(context_id: int, sop_instance: bytes, *, data: bytes | None = None, action_type: int = 1) -> bytes:
    """An N-ACTION-RQ in implicit VR little endian."""
    reference = raw(0x1150, CT) + raw(0x1155, sop_instance)
    item = b"\xfe\xff\x00\xe0" + len(reference).to_bytes(4, "little") + reference
    information = raw(0x1195, b"1.2.3.4") + raw(0x1199, item)
    command = (
        (0x0003, STORAGE_COMMITMENT),
        (pdu.COMMAND_FIELD, pdu.N_ACTION_RQ),
        (pdu.MESSAGE_ID, 7),
        (pdu.COMMAND_DATA_SET_TYPE, 1),
        (pdu.REQUESTED_SOP_INSTANCE_UID, b"1.2.840.10008.1.20.1.1"),
        (pdu.ACTION_TYPE_ID, action_type),
    )
    return pdu.command_pdu(context_id, command) + pdu.data_pdus(context_id, information if data is None else data, 0)


def raw(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return b"\x08\x00" + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value


@pytest.mark.parametrize(
    ("data", "action_type", "status"),
    [(None, 2, 0x0123), (b"", 1, 0x0115), (b"\xff" * 50, 1, 0x0115), (raw(0x1195, b"1.2"), 1, 0x0115)],
)
def test_a_request_that_cannot_be_understood_is_refused_and_the_association_goes_on(
    edge: Edge, data: bytes | None, action_type: int, status: int
) -> None:
    peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,)), 3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))})
    peer.sock.sendall(raw_request(3, b"1.9", data=data, action_type=action_type))
    assert peer.status() == status
    peer.sock.sendall(raw_request(1, b"1.9"))
    assert peer.status() == 0x0211
    assert peer.store(b"1.9", small_data_set()) == 0
    peer.release()


def test_no_commitment_is_offered_where_the_setting_says_so(tmp_path: Path) -> None:
    with running_edge(tmp_path, commitment_keep_days=0) as edge:
        peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,)), 3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))})
        assert {number: one.result for number, one in peer.results.items()} == {1: 0, 3: 3}
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        edge.announced()
    assert not (edge.settings.spool / "commitment.sqlite").exists()


def test_a_database_that_cannot_be_opened_stops_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool" / "commitment.sqlite").mkdir(parents=True)
    with running_edge(tmp_path) as edge:
        peer = RawPeer(edge.port, {1: (CT, (EXPLICIT,)), 3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))})
        assert peer.results[3].result == 3
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        edge.announced()
    assert "no storage commitment until the next start" in caplog.messages


def test_a_request_survives_kill_9_of_the_receiver(
    aws: Aws, bucket: str, tmp_path: Path, slices: list[pydicom.FileDataset]
) -> None:
    requester = Requester()
    uids = [str(one.SOPInstanceUID) for one in slices]
    with requester.listening() as port:
        edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", commitment_peers=f"MODALITY=127.0.0.1:{port}")
        edge.start()
        association = requester.associate(edge.port)
        for one in slices:
            assert association.send_c_store(one).Status == 0
        status, transaction_uid = ask(association, *uids)
        assert status == 0
        edge.kill()
        association.abort()
        with edge:
            told = requester.told(within_seconds=30)
            assert sorted(told.committed) == sorted(uids)
            assert (told.transaction_uid, told.event_type, told.failed) == (transaction_uid, 1, {})
