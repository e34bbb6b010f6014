"""Two receivers on one port and one spool, as two worker processes are: limits and commitments are common to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from local.processes import LOOPBACK
from receiver.dicom.listener import open_port
from receiver.service import Receiver
from receiver.settings import Settings
from tests.support.cloud import FakeCloud
from tests.support.commitment import Requester, ask
from tests.support.dicom import ct_series
from tests.support.receiver import CT, EXPLICIT, RawPeer, settings_for, until

STORAGE = {1: (CT, (EXPLICIT,))}


@contextlib.contextmanager
def siblings(settings: Settings) -> Iterator[tuple[Receiver, Receiver]]:
    sock, cloud = open_port(LOOPBACK, 0), FakeCloud()
    settings.spool.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        both = Receiver(settings, cloud, shared_socket=sock), Receiver(settings, cloud, shared_socket=sock.dup())
        for receiver in both:
            receiver.start()
            stack.callback(receiver.stop)
        yield both


def connected_to_each(both: tuple[Receiver, Receiver], requester: Requester, stack: contextlib.ExitStack) -> None:
    """Associations until each of the two has one."""
    while not all(receiver.connections for receiver in both):
        stack.enter_context(requester.associated(both[0].port))


def test_a_limit_is_common_to_all_workers(tmp_path: Path) -> None:
    with siblings(settings_for(tmp_path / "spool", max_associations_per_ae=5)) as both:
        peers = [RawPeer(both[0].port, STORAGE) for _ in range(12)]
        assert [peer.rejection for peer in peers].count(None) == 5
        assert {peer.rejection for peer in peers} == {None, (2, 3, 2)}
        for peer in peers:
            peer.sock.close()
        until(lambda: not any(receiver.connections for receiver in both), "all closed")
        again = RawPeer(both[0].port, STORAGE)
        assert again.rejection is None
        again.release()


@pytest.mark.parametrize("release_first", [True, False])
def test_what_one_worker_received_is_committed_by_the_other(tmp_path: Path, release_first: bool) -> None:
    slices = [pydicom.dcmread(path) for path in ct_series(tmp_path / "ct", 6)]
    uids = [str(one.SOPInstanceUID) for one in slices]
    storing, asking = Requester("STORING"), Requester("ASKING")
    with siblings(settings_for(tmp_path / "spool")) as both, contextlib.ExitStack() as stack:
        connected_to_each(both, asking, stack)
        with contextlib.ExitStack() as stores:
            for one in slices:
                association = stores.enter_context(storing.associated(both[0].port))
                assert association.send_c_store(one).Status == 0
            if release_first:
                stores.close()
            asked = stack.enter_context(asking.associated(both[0].port))
            assert ask(asked, *uids, "1.2.3.999")[0] == 0
            told = asking.told()
        assert sorted(told.committed) == sorted(uids)
        assert told.failed == {"1.2.3.999": 0x0112}
        assert asking.reports.empty()
