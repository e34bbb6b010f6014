"""What a supervisor does about workers that die, hang, or cannot start; with small programs in their place."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver import supervisor
from receiver.counters import Counters
from receiver.listening import Sockets
from receiver.process import CANNOT_START, CannotStartError
from receiver.supervisor import Supervisor
from tests.support.receiver import settings_for, until

BEGIN = f"""
import json, os, pathlib, sys, time
task = json.loads(sys.stdin.readline())
started = pathlib.Path(os.environ["STARTED"])
with started.open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
times = len(started.read_text().splitlines())
def report():
    print({json.dumps(json.dumps(Counters().report().to_json() | {"announced": 1, "workers": 1}))}, flush=True)
"""
DIE_TWICE = BEGIN + "report()\nif times > 2: sys.stdin.read()\nsys.exit(1)\n"
HANG_ONCE = BEGIN + "report()\nwhile times > 1: report(); time.sleep(0.05)\nsys.stdin.read()\n"
CANNOT = BEGIN + f"sys.exit({CANNOT_START})\n"
CANNOT_LATER = BEGIN + f"report()\nif times == 1: sys.exit({CANNOT_START})\nsys.stdin.read()\n"


class Workers:
    def __init__(self, supervisor: Supervisor, started: Path, stop: threading.Event) -> None:
        self.supervisor, self._started, self.stop = supervisor, started, stop

    @property
    def pids(self) -> list[str]:
        return self._started.read_text().split() if self._started.exists() else []


@contextmanager
def workers(folder: Path, patch: pytest.MonkeyPatch, program: str, count: int = 1) -> Iterator[Workers]:
    patch.setattr(supervisor, "_BACKOFF_FIRST_SECONDS", 0.01)
    patch.setenv("STARTED", str(folder / "started"))
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        made = Supervisor(
            settings_for(folder / "spool", workers=count), Sockets(sock, None), stop, command=(sys.executable, "-c", program)
        )
        try:
            yield Workers(made, folder / "started", stop)
        finally:
            stop.set()
            made.stop()


def test_a_worker_that_dies_is_replaced_until_one_stays_and_its_counts_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with workers(tmp_path, monkeypatch, DIE_TWICE) as made:
        made.supervisor.start()
        until(lambda: made.supervisor.report().announced == 3, "the third one reports", within_seconds=20)
        assert made.supervisor.report().workers == 1
        assert len(made.pids) == 3
    assert [record.exit_code for record in caplog.records] == [1, 1]  # type: ignore[attr-defined]


def test_a_worker_that_reports_nothing_any_more_is_killed_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_SILENT_SECONDS", 1)
    with workers(tmp_path, monkeypatch, HANG_ONCE) as made:
        made.supervisor.start()
        until(lambda: len(made.pids) >= 2 and made.supervisor.report().workers == 1, "it is replaced", within_seconds=20)
    assert caplog.messages[:2] == ["worker hangs and is killed", "worker ended and is replaced"]


def test_workers_that_cannot_start_end_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workers(tmp_path, monkeypatch, CANNOT, count=2) as made:
        with pytest.raises(CannotStartError):
            made.supervisor.start()
        assert len(made.pids) == 2


def test_a_worker_that_cannot_start_again_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workers(tmp_path, monkeypatch, CANNOT_LATER) as made:
        made.supervisor.start()
        until(lambda: len(made.pids) == 2, "it is tried again", within_seconds=20)


def test_a_receiver_that_is_asked_to_stop_before_a_worker_is_up_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workers(tmp_path, monkeypatch, BEGIN + "sys.stdin.read()\n") as made:
        made.stop.set()
        made.supervisor.start()
        assert made.supervisor.report().workers == 0


def test_workers_that_drained_are_not_replaced_and_those_that_died_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = BEGIN + (
        "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(1 if times == 1 else 0))\n"
        "report()\nwhile True: time.sleep(0.01)\n"
    )
    with workers(tmp_path, monkeypatch, program) as made:
        made.supervisor.start()

        def drained() -> bool:
            made.supervisor.drain()
            return made.supervisor.is_idle

        until(drained, "it is idle", within_seconds=20)
        assert len(made.pids) == 2


def test_each_worker_gets_the_settings_and_the_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = BEGIN + "started.write_text(json.dumps(task) + ' '); report()\nsys.stdin.read()\n"
    with workers(tmp_path, monkeypatch, program) as made:
        made.supervisor.start()
        task = json.loads((tmp_path / "started").read_text())
    assert (task["worker"], task["settings"]["edge_id"], len(task["sockets"])) == (1, "edge-1", 2)
