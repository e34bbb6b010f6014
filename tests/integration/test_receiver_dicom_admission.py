"""Associations that are rejected, and objects that are refused, as a peer sees it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from receiver.dicom import pdu
from tests.support.receiver import CT, EXPLICIT, IMPLICIT, RawPeer, running_edge, small_data_set

STORAGE = {1: (CT, (EXPLICIT,))}
VERIFICATION = {1: (b"1.2.840.10008.1.1", (IMPLICIT,))}


@pytest.mark.parametrize(
    ("settings", "peer", "rejection"),
    [
        ({"calling_ae_titles": ("CT_1",)}, {"calling_ae": b"CT_2"}, (1, 1, 3)),
        ({"called_ae_titles": ("AHI",)}, {"called_ae": b"PACS"}, (1, 1, 7)),
        ({}, {"application_context": b"1.2.840.10008.3.1.1.2"}, (1, 1, 2)),
        ({"networks": (ip_network("10.0.0.0/8"),)}, {}, (1, 1, 1)),
    ],
)
def test_a_peer_that_is_not_let_in_is_told_why(
    tmp_path: Path, settings: dict[str, Any], peer: dict[str, Any], rejection: tuple[int, int, int]
) -> None:
    with running_edge(tmp_path, **settings) as edge:
        rejected = RawPeer(edge.port, STORAGE, **peer)
        assert rejected.rejection == rejection
        rejected.sock.close()
        assert edge.cloud.messages == []


def test_peers_on_the_lists_are_served(tmp_path: Path) -> None:
    lists: dict[str, Any] = {
        "calling_ae_titles": ("CT_1",),
        "called_ae_titles": ("AHI",),
        "networks": (ip_network("127.0.0.0/8"),),
    }
    with running_edge(tmp_path, **lists) as edge:
        peer = RawPeer(edge.port, STORAGE, calling_ae=b"CT_1", called_ae=b" AHI")
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()


def test_one_ae_title_cannot_take_the_places_of_the_others(tmp_path: Path) -> None:
    with running_edge(tmp_path, max_associations_per_ae=2) as edge:
        loud = [RawPeer(edge.port, STORAGE, calling_ae=b"LOUD") for _ in range(3)]
        assert [peer.rejection for peer in loud] == [None, None, (2, 3, 2)]
        other = RawPeer(edge.port, STORAGE, calling_ae=b"OTHER")
        assert other.store(b"1.9", small_data_set()) == 0
        for peer in (*loud, other):
            peer.sock.close()


def test_a_peer_that_does_not_close_gives_its_place_back(tmp_path: Path) -> None:
    with running_edge(tmp_path, max_associations=1) as edge:
        peers = []
        for number in range(3):
            peers.append(RawPeer(edge.port, STORAGE))
            assert peers[-1].store(b"1.%d" % number, small_data_set()) == 0
            peers[-1].sock.sendall(pdu.RELEASE_RQ_PDU)
            assert peers[-1].receive()[0] == pdu.RELEASE_RP
            edge.announced()  # its association ends, though the connection is open
        for peer in peers:
            peer.sock.close()


def test_who_may_not_store_may_verify_and_is_told(tmp_path: Path) -> None:
    with running_edge(tmp_path, storing_ae_titles=("CT_1",)) as edge:
        peer = RawPeer(edge.port, STORAGE | {3: VERIFICATION[1]}, calling_ae=b"MONITOR")
        assert peer.store(b"1.9", small_data_set()) == 0x0124
        peer.sock.sendall(
            pdu.command_pdu(
                3,
                (
                    (pdu.AFFECTED_SOP_CLASS_UID, VERIFICATION[1][0]),
                    (pdu.COMMAND_FIELD, 0x0030),
                    (pdu.MESSAGE_ID, 2),
                    (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
                ),
            )
        )
        assert peer.status() == 0
        peer.release()
        peer = RawPeer(edge.port, STORAGE, calling_ae=b"CT_1")
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        (announced,) = edge.announced()
        assert len(announced.entries) == 1


def test_an_ae_title_outside_ascii_is_answered_as_it_came(tmp_path: Path) -> None:
    title = b"R\xd6NTGEN\\\x00\xff 1"
    with running_edge(tmp_path) as edge:
        peer = RawPeer(edge.port, STORAGE, calling_ae=title)
        assert peer.answer[1][20:36] == title.ljust(16)
        assert peer.store(b"1.9", small_data_set()) == 0
        peer.release()
        (announced,) = edge.announced()
        assert announced.manifest.calling_ae == title.decode("latin-1")
