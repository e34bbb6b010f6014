"""The operators' commands on the gateway, beside a receiver that runs, and with AWS away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ahi_ingest import app
from local.aws import Aws
from local.processes import free_port
from receiver.dicom.negotiation import IMPLICIT_VR, STORAGE_COMMITMENT
from tests.integration.test_receiver_dicom_commitment import raw_request
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, element, small_data_set, until

STORAGE = {1: (CT, (EXPLICIT,))}
COMMAND = Path(sys.executable).with_name("ahi-ingest")
SECRET = "Zweistein^Albertina"
PATIENT = element(0x0010, 0x0010, b"PN", SECRET.encode())


class Gateway:
    """Runs commands with a receiver's environment."""

    def __init__(self, edge: EdgeProcess) -> None:
        self.edge = edge

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """What the command prints; it must print no patient data, and no traceback."""
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], env=self.edge.environment())
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert SECRET not in done.output
        return done.output


@pytest.fixture
def away(tmp_path: Path) -> EdgeProcess:
    """An edge whose AWS does not answer."""
    changes = {"PORT": str(free_port()), "DRAIN_TIMEOUT_SECONDS": "0"}
    return EdgeProcess(Aws("http://127.0.0.1:1"), "bucket", "http://127.0.0.1:1/queue", tmp_path / "edge", changes)


def test_the_spool_is_listed_shown_and_verified_with_aws_away(away: EdgeProcess) -> None:
    with away as edge:
        gateway = Gateway(edge)
        peer = RawPeer(edge.port, STORAGE, calling_ae=b"CT_7")
        assert peer.store(b"1.1", PATIENT + small_data_set()) == 0
        assert "open" in gateway.run("spool", "list")
        assert peer.store(b"1.2", PATIENT + b"\x10\x00\x10\x00PN\xff\xff", message_id=2) == 0
        peer.release()
        (line, total) = until(
            lambda: (said := gateway.run("spool", "list")) and "sealed" in said and said, "sealed"
        ).splitlines()
        association = line.split()[0]
        assert total.startswith("1 associations, 2 objects, ")
        shown = gateway.run("spool", "show", association[:20])
        assert "CT_7 at 127.0.0.1" in shown
        assert shown.count(" bytes") == 2
        assert "no association in the spool begins with" in gateway.run("spool", "show", "nothing", code=2)
        verified = gateway.run("spool", "verify")
        assert "will be quarantined: cannot be read" in verified
        assert "2 objects can be read, 0 cannot" in verified
        assert "0 open requests" in gateway.run("commitments")
        assert "answers, in" in gateway.run("echo", f"ANY@127.0.0.1:{edge.port}")
        (stored,) = edge.spool.glob("out/*/*/000001-*.dcm")
        stored.write_bytes(b"no DICOM")
        assert "is no file of the receiver's" in gateway.run("spool", "verify", code=1)


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_commands_that_look_make_no_file_in_the_spool(away: EdgeProcess, ending: str) -> None:
    """Root's would keep the receiver's user out: of an earlier version's spool, without a lock file of the database, too."""
    peer_uids = STORAGE | {3: (STORAGE_COMMITMENT, (IMPLICIT_VR,))}
    away.start()
    peer = RawPeer(away.port, peer_uids)
    assert peer.store(b"1.1", small_data_set()) == 0
    peer.sock.sendall(raw_request(3, b"1.1"))
    assert peer.status() == 0
    getattr(away, ending)()
    peer.sock.close()
    for name in ("lock", "commitment.sqlite.lock"):
        (away.spool / name).unlink()
    before = sorted(away.spool.rglob("*"))
    gateway = Gateway(away)
    assert "1 open requests" in gateway.run("commitments")
    assert "1 associations" in gateway.run("spool", "list")
    gateway.run("spool", "verify")
    gateway.run("quarantine", "list")
    assert "no receiver runs" in gateway.run("drain", code=2)
    assert sorted(away.spool.rglob("*")) == before


def test_a_peer_that_does_not_answer_is_told(away: EdgeProcess) -> None:
    gateway = Gateway(away)
    assert "no answer from 127.0.0.1:1" in gateway.run("echo", "PACS@127.0.0.1:1", code=2)
    assert "is not in AHI_INGEST_COMMITMENT_PEERS" in gateway.run("echo", "PACS", code=2)
    assert "No such file or directory" in gateway.run("spool", "list", code=2)


def test_a_quarantined_object_is_kept_here_shown_exported_released_and_discarded(aws: Aws, bucket: str, tmp_path: Path) -> None:
    with EdgeProcess.prepare(aws, bucket, tmp_path / "edge", port=free_port()) as edge:
        gateway = Gateway(edge)
        assert gateway.run("quarantine", "list") == ""
        peer = RawPeer(edge.port, STORAGE, calling_ae=b"CT_7")
        right = element(0x0008, 0x0018, b"UI", b"2.25.1") + PATIENT + small_data_set()
        assert peer.store(b"2.25.2", right) == 0  # the command names another instance
        assert peer.store(b"2.25.3", PATIENT + b"\x10\x00\x10\x00PN\xff\xff", message_id=2) == 0
        peer.release()
        (first,) = edge.announced(1)
        assert len(first.manifest.quarantined) == 2
        differs, broken = until(lambda: gateway.run("quarantine", "list"), "kept", 30).splitlines()
        assert "SOPInstanceUID (0008,0018) differs" in differs
        assert "cannot be read" in broken
        assert f"in S3            {first.manifest.quarantined[0].key}" in gateway.run("quarantine", "show", differs.split()[0])
        exported = tmp_path / "exported.dcm"
        gateway.run("quarantine", "export", differs.split()[0], exported)
        assert exported.read_bytes() == edge.content(first.manifest.quarantined[0].key)
        assert "exists already" in gateway.run("quarantine", "export", differs.split()[0], exported, code=2)
        gateway.run("quarantine", "release", differs.split()[0])
        (again,) = edge.announced(1)
        assert ([entry.sop_instance_uid for entry in again.entries], again.manifest.quarantined) == (["2.25.1"], ())
        assert again.manifest.calling_ae == "CT_7"
        gateway.run("quarantine", "discard", broken.split()[0])
        assert gateway.run("quarantine", "list") == ""
        assert list((edge.spool / "quarantine").iterdir()) == []
        assert "no object" in gateway.run("quarantine", "show", broken.split()[0], code=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_drain_lets_everything_end_and_then_the_receiver(aws: Aws, bucket: str, tmp_path: Path, workers: int) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge", workers=workers)
    edge.start()
    peer = RawPeer(edge.port, STORAGE)
    assert peer.store(b"1.1", small_data_set()) == 0
    gateway = Gateway(edge)
    assert "drains still" in gateway.run("drain", "--wait", "2", code=2)
    late = RawPeer(edge.port, STORAGE)
    assert late.answer[1][1:4] == bytes((2, 3, 1))
    late.sock.close()
    with subprocess.Popen([COMMAND, "drain"], env=edge.environment(), stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "1 associations in the spool\n"
        assert peer.store(b"1.2", small_data_set(), message_id=2) == 0
        peer.release()
        assert waiting.stdout.read().endswith("the receiver has ended, and its spool is empty\n")
    assert waiting.returncode == 0
    assert edge.process is not None
    assert edge.process.wait(20) == 0
    edge.stop()
    assert len(edge.announced(1)[0].entries) == 2
    assert "no receiver runs" in gateway.run("drain", code=2)
