"""Which associations are let in, and how many at once, also over several processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from receiver.dicom.admission import Admission, AdmissionRules
from receiver.dicom.counts import AssociationCounts, LocalCounts, SharedCounts
from receiver.dicom.items import UserInformation
from receiver.dicom.pdu import APPLICATION_CONTEXT, AssociateRq
from receiver.dicom.status import Rejection


def request(calling_ae: bytes = b"CT", called_ae: bytes = b"AHI", context: bytes = APPLICATION_CONTEXT) -> AssociateRq:
    return AssociateRq(called_ae.ljust(16), calling_ae.ljust(16), context, (), UserInformation())


def admission(*, counts: AssociationCounts | None = None, has_room: bool = True, **rules: Any) -> Admission:
    used = AdmissionRules(**({"max_associations": 100} | rules))
    return Admission(used, counts or LocalCounts(), has_room=lambda: has_room)


def test_everybody_is_let_in_by_default() -> None:
    assert not isinstance(admission().admit(request(b"\xff\x00 anyone"), "203.0.113.9"), Rejection)


@pytest.mark.parametrize(
    ("rules", "asked", "peer", "rejection"),
    [
        ({}, request(context=b"1.2.3"), "10.0.0.1", (1, 1, 2)),
        ({"networks": (ip_network("10.1.0.0/16"),)}, request(), "10.2.0.1", (1, 1, 1)),
        ({"networks": (ip_network("10.1.0.0/16"),)}, request(), "::ffff:10.2.0.1", (1, 1, 1)),
        ({"networks": (ip_network("fd00::/8"),)}, request(), "10.1.0.1", (1, 1, 1)),
        ({"calling_ae_titles": ("MR",)}, request(), "10.0.0.1", (1, 1, 3)),
        ({"calling_ae_titles": ("ct",)}, request(), "10.0.0.1", (1, 1, 3)),
        ({"called_ae_titles": ("OTHER",)}, request(), "10.0.0.1", (1, 1, 7)),
        ({"has_room": False}, request(), "10.0.0.1", (2, 3, 1)),
        ({"max_associations": 0, "max_associations_per_ae": 0}, request(context=b""), "10.0.0.1", (1, 1, 2)),
    ],
)
def test_a_rejection_says_why(rules: dict[str, Any], asked: AssociateRq, peer: str, rejection: tuple[int, int, int]) -> None:
    assert admission(**rules).admit(asked, peer) == Rejection(*rejection)


def test_what_the_lists_name_is_let_in() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    asked = admission(networks=networks, calling_ae_titles=("CT",), called_ae_titles=("AHI",))
    for peer in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1%eth0"):
        assert not isinstance(asked.admit(request(b"  CT"), peer), Rejection)


@pytest.mark.parametrize(
    ("limit", "same", "other"),
    [
        ("max_associations", ("CT", "10.0.0.1"), None),
        ("max_associations_per_ae", ("CT", "10.0.0.9"), ("MR", "10.0.0.1")),
        ("max_associations_per_address", ("MR", "10.0.0.1"), ("CT", "10.0.0.9")),
    ],
)
def test_a_limit_counts_open_associations(limit: str, same: tuple[str, str], other: tuple[str, str] | None) -> None:
    rules: dict[str, Any] = {limit: 1}
    asked = admission(**rules)
    taken = asked.admit(request(b"CT"), "10.0.0.1")
    assert isinstance(taken, tuple)
    assert not isinstance(taken, Rejection)
    assert asked.admit(request(same[0].encode()), same[1]) == Rejection(2, 3, 2)
    if other:
        assert not isinstance(asked.admit(request(other[0].encode()), other[1]), Rejection)
    asked.give_back(taken)
    assert not isinstance(asked.admit(request(same[0].encode()), same[1]), Rejection)


@pytest.fixture(params=["local", "shared"])
def counts(request: pytest.FixtureRequest, tmp_path: Path) -> AssociationCounts:
    make: Callable[[], AssociationCounts] = LocalCounts if request.param == "local" else lambda: SharedCounts(tmp_path / "run")
    return make()


def test_counts_take_all_names_or_none(counts: AssociationCounts) -> None:
    assert counts.take({"all": 3, "a": 1})
    assert not counts.take({"all": 3, "a": 1})
    assert counts.take({"all": 3, "b": 1})
    assert counts.take({"all": 3, "c": 1})
    assert not counts.take({"all": 3, "d": 1})
    counts.give_back(("all", "a"))
    assert counts.take({"all": 3, "a": 1})


_HOLDER = """
import sys
from pathlib import Path
from receiver.dicom.counts import SharedCounts
counts = SharedCounts(Path(sys.argv[1]))
print(counts.take({"all": 2}), flush=True)
sys.stdin.read()
"""


def test_what_other_processes_hold_counts_until_they_die(tmp_path: Path) -> None:
    ours = SharedCounts(tmp_path / "run")
    assert ours.take({"all": 2})
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        assert not ours.take({"all": 2})
        other.kill()
        other.wait()
    assert ours.take({"all": 2})
    assert len(list((tmp_path / "run").glob("*.counts"))) == 1
    ours.close()
    assert list((tmp_path / "run").glob("*.counts")) == []


def test_an_association_that_cannot_be_counted_is_put_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path / "run")
    asked = admission(counts=counts)
    with monkeypatch.context() as full:
        full.setattr("os.pwrite", _raise_no_space)
        assert asked.admit(request(), "10.0.0.1") == Rejection(2, 3, 1)
    taken = asked.admit(request(), "10.0.0.1")
    assert not isinstance(taken, Rejection)
    asked.give_back(taken)
    asked.close()


def _raise_no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")
