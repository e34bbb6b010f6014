"""A state folder has one owner, keeps its ports, and tells its addresses only while it is ready."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from local.processes import LOOPBACK, free_port
from local.state import DICOM_PORT, StateError, StateFolder


def listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.bind((LOOPBACK, port))
    listener.listen()
    return listener


def test_a_second_owner_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with (
        StateFolder.owned(tmp_path / "state"),
        pytest.raises(StateError, match=r"Another `ahi-ingest up` runs on .*state\. End it with Ctrl-C"),
        StateFolder.owned(tmp_path / "state"),
    ):
        pass


def test_the_folder_can_be_owned_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with StateFolder.owned(tmp_path):
            pass


def test_addresses_of_a_run_that_was_killed_are_gone_with_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{}")
    with StateFolder.owned(tmp_path):
        assert not (tmp_path / "endpoints.json").exists()


def test_addresses_are_published_for_their_owner_alone_and_withdrawn_at_the_end(tmp_path: Path) -> None:
    with StateFolder.owned(tmp_path) as state:
        state.publish({"mysql": {"password": "x"}})
        path = tmp_path / "endpoints.json"
        assert json.loads(path.read_text()) == {"mysql": {"password": "x"}}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_ports_are_the_same_the_next_time(tmp_path: Path) -> None:
    with StateFolder.owned(tmp_path) as state:
        first = state.ports(("aws", "mysql"), dicom_port=free_port())
    with StateFolder.owned(tmp_path) as state:
        assert state.ports(("aws", "mysql"), dicom_port=None) == first
    assert len(set(first.values())) == 3


def test_a_remembered_port_that_is_taken_by_now_is_replaced(tmp_path: Path) -> None:
    with StateFolder.owned(tmp_path) as state:
        first = state.ports(("aws",), dicom_port=free_port())
        with listen(first["aws"]), listen(first["dicom"]):
            second = state.ports(("aws",), dicom_port=None)
    assert not set(first.values()) & set(second.values())


def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path: Path) -> None:
    port = free_port()
    with StateFolder.owned(tmp_path) as state, listen(port), pytest.raises(StateError, match=f"Port {port} is taken"):
        state.ports(("aws",), dicom_port=port)


def test_the_receivers_port_is_dicoms_own_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.state._is_free", lambda _: True)
    with StateFolder.owned(tmp_path) as state:
        assert state.ports((), dicom_port=None) == {"dicom": DICOM_PORT}


def test_another_port_is_taken_for_the_receiver_when_dicoms_own_is_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.state._is_free", lambda port: port != DICOM_PORT)
    with StateFolder.owned(tmp_path) as state:
        assert state.ports((), dicom_port=None)["dicom"] != DICOM_PORT
