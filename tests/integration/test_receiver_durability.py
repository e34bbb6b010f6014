"""What 0x0000 says, by the setting `durability`."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from receiver.cloud import CloudUnavailableError
from tests.support.cloud import FakeCloud
from tests.support.receiver import CT, EXPLICIT, RawPeer, running_edge, small_data_set

STORAGE = {1: (CT, (EXPLICIT,))}


def test_with_cloud_an_object_is_acknowledged_once_s3_has_it(tmp_path: Path) -> None:
    with running_edge(tmp_path, durability="cloud") as edge:
        peer = RawPeer(edge.port, STORAGE)
        for number in range(3):
            assert peer.store(b"1.%d" % number, small_data_set(more=b"%d" % number)) == 0x0000
            assert len(edge.cloud.objects) == number + 1
        peer.release()
        edge.announced()


def test_with_cloud_an_object_that_s3_does_not_confirm_is_refused_and_kept_and_a_retry_is_the_same_object(
    tmp_path: Path,
) -> None:
    with running_edge(tmp_path, durability="cloud", confirmation_seconds=0.1) as edge:
        edge.cloud.failure = CloudUnavailableError("away")
        peer = RawPeer(edge.port, STORAGE)
        assert [peer.store(b"1.9", small_data_set()) for _ in range(2)] == [0xA700, 0xA700]
        (folder,) = edge.settings.spool.glob("out/*/*-RAW-*")
        names = sorted(path.name.split("-")[0] for path in folder.iterdir())
        assert names == ["000001", "000001.unacknowledged", "000002", "000002.unacknowledged", "association.json"]
        edge.cloud.failure = None
        peer.release()
        (announced,) = edge.announced()
        assert [entry.sop_instance_uid for entry in announced.entries] == ["1.9"]
        assert announced.manifest.identical_repeats == 1


class SlowCloud(FakeCloud):
    """Has an object only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def put_bytes(self, key: str, content: bytes) -> None:
        assert self.let.wait(10)
        super().put_bytes(key, content)


def test_with_cloud_a_repeat_is_not_confirmed_before_what_it_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.upload_workers._ASKS_ALONE_SECONDS", 0.01)  # or no other worker sees the repeat in time
    cloud = SlowCloud()
    with running_edge(tmp_path, cloud, durability="cloud", confirmation_seconds=0.2) as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert [peer.store(b"1.9", small_data_set()) for _ in range(2)] == [0xA700, 0xA700]
        cloud.let.set()
        assert peer.store(b"1.9", small_data_set()) == 0x0000
        assert len(cloud.objects) == 1
        peer.release()
        (announced,) = edge.announced()
        assert (len(announced.entries), announced.manifest.identical_repeats) == (1, 2)


def test_with_cloud_a_quarantined_object_is_confirmed_too(tmp_path: Path) -> None:
    with running_edge(tmp_path, durability="cloud") as edge:
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()[:-1]) == 0x0000
        assert [key.split("/")[0] for key in edge.cloud.objects] == ["quarantine"]
        peer.release()
        edge.announced()


def test_with_none_the_start_says_what_may_be_lost_and_nothing_is_synced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sync(_: int) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr("os.fsync", no_sync)
    monkeypatch.setattr("receiver.filesystem._sync_data", no_sync)
    with caplog.at_level(logging.WARNING), running_edge(tmp_path, durability="none") as edge:
        assert "what is acknowledged may be lost" in caplog.text
        peer = RawPeer(edge.port, STORAGE)
        assert peer.store(b"1.9", small_data_set()) == 0x0000
        peer.release()
        edge.announced()
