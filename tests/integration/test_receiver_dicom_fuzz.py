"""Bytes that no client would send: each ends its own association, with one log line at most, and touches nothing else."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.dicom import pdu
from receiver.dicom.negotiation import IMPLICIT_VR, STORAGE_COMMITMENT, VERIFICATION
from tests.integration.test_receiver_dicom_commitment import raw_request
from tests.support.receiver import CT, EXPLICIT, Edge, RawPeer, running_edge, small_data_set, store_pdus, until

CONTEXTS = {1: (CT, (EXPLICIT,)), 3: (VERIFICATION, (IMPLICIT_VR,)), 5: (STORAGE_COMMITMENT, (IMPLICIT_VR,))}
REQUEST = pdu.associate_rq(
    called_ae=b"ANY",
    calling_ae=b"FUZZ",
    contexts=[pdu.ProposedContext(number, *uids) for number, uids in CONTEXTS.items()],
)
ECHO = pdu.command_pdu(
    3,
    (
        (pdu.AFFECTED_SOP_CLASS_UID, VERIFICATION),
        (pdu.COMMAND_FIELD, pdu.C_ECHO_RQ),
        (pdu.MESSAGE_ID, 2),
        (pdu.COMMAND_DATA_SET_TYPE, pdu.NO_DATA_SET),
    ),
)
VALID = (
    REQUEST,
    store_pdus(b"1.9", small_data_set(), fragment=40),
    ECHO,
    raw_request(5, b"1.9"),
    pdu.store_response(1, CT, b"1.9", 1, 0),
    pdu.RELEASE_RQ_PDU,
    struct.pack(">BxIxxBB", pdu.ABORT, 4, 0, 0),
)
LENGTHS = (0, 1, 2, 3, 5, 6, 0x7FFF, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 7, 2**32 - 1)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """PDUs in any order, most of them valid, with some bytes changed, left out, repeated, or lengths replaced."""
    begin = draw(st.sampled_from((REQUEST, REQUEST, REQUEST, b"")))
    stream = bytearray(begin + b"".join(draw(st.lists(st.sampled_from(VALID), max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(stream) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                stream[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                stream[at : at + 4] = struct.pack(">I", draw(st.sampled_from(LENGTHS)))
            case 2:
                stream[at : at + 4] = struct.pack("<I", draw(st.sampled_from(LENGTHS)))
            case 3:
                del stream[at : at + draw(st.integers(1, 40))]
            case 4:
                stream[at:at] = draw(st.one_of(st.binary(max_size=40), st.just(bytes(stream[at : at + 30]))))
    return bytes(stream)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(tmp_path_factory.mktemp("fuzz"), artim_timeout_seconds=1, idle_timeout_seconds=2) as running:
        yield running


class _Lines(logging.Handler):
    """What is logged about connections at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)


def send_and_hang_up(port: int, data: bytes) -> None:
    """Send, say that this was all, and read to the end."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        contextlib.suppress(OSError),  # it may be closed before all is sent
    ):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


@given(st.one_of(damaged(), damaged(), damaged(), st.binary(max_size=300)))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_bytes_end_their_own_association_alone(edge: Edge, data: bytes) -> None:
    lines, logger = _Lines(), logging.getLogger("receiver.dicom")
    logger.addHandler(lines)
    try:
        send_and_hang_up(edge.port, data)
        until(lambda: edge.receiver.connections == 0, "the connection is closed")
    finally:
        logger.removeHandler(lines)
    assert len(lines.lines) <= 1, [line.getMessage() for line in lines.lines]
    assert all(line.levelno == logging.WARNING for line in lines.lines), [line.exc_info for line in lines.lines]


def test_a_bystander_is_served_meanwhile(edge: Edge) -> None:
    bystander = RawPeer(edge.port, CONTEXTS)
    for number, length in enumerate(LENGTHS, 1):
        for kind in range(9):
            send_and_hang_up(edge.port, REQUEST + struct.pack(">BxI", kind, length) + b"x" * 20)
        assert bystander.store(b"1.%d" % number, small_data_set(), message_id=number) == 0
    bystander.release()
