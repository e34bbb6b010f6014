"""The programs of the local stack start when they are ready, say why when they are not, and never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from local.processes import Process, ProcessError

if TYPE_CHECKING:
    from pathlib import Path


def ended(pid: int, within_seconds: float = 10) -> bool:
    """Whether process `pid` is gone (or is a zombie that only waits for its parent) within the time."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        if not state.strip() or state.startswith("Z"):
            return True
        time.sleep(0.02)
    return False


def test_a_program_that_dies_at_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"ended with code 3(.|\n)*no room at the inn"):
        Process.start(
            "innkeeper",
            [sys.executable, "-c", "import sys; print('no room at the inn'); sys.exit(3)"],
            log_path=tmp_path / "log",
            ready=lambda: False,
        )


def test_a_program_that_is_late_is_reported_and_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ProcessError, match=r"not ready in 0.5 s"):
        Process.start(
            "sleeper",
            [sys.executable, "-c", f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"],
            log_path=tmp_path / "log",
            ready=lambda: False,
            ready_within_seconds=0.5,
        )
    assert ended(int(pid_file.read_text()))


def test_a_probe_that_raises_leaves_nothing_running(tmp_path: Path) -> None:
    def probe() -> bool:
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        Process.start("sleeper", [sys.executable, "-c", code], log_path=tmp_path / "log", ready=probe)
    assert all(ended(int(pid)) for pid in (tmp_path / "log").read_text().split())


def test_a_program_that_is_not_installed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"Cannot run no-such-program(.|\n)*Install it"):
        Process.start("absent", ["no-such-program"], log_path=tmp_path / "log", ready=lambda: False)


def test_stop_lets_the_program_end_in_its_own_order_and_takes_its_children_along(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            """
            import pathlib, signal, subprocess, sys
            folder = pathlib.Path(sys.argv[1])
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

            def tidy(*_):
                (folder / "tidied").touch()
                sys.exit(0)

            signal.signal(signal.SIGTERM, tidy)
            (folder / "child").write_text(str(child.pid))
            (folder / "ready").touch()
            signal.pause()
            """
        )
    )
    with Process.start(
        "parent", [sys.executable, script, tmp_path], log_path=tmp_path / "log", ready=(tmp_path / "ready").exists
    ):
        child = int((tmp_path / "child").read_text())
    assert (tmp_path / "tidied").exists()
    assert ended(child)


def test_a_program_that_ignores_sigterm_is_killed_after_its_deadline(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"import signal, pathlib, time; {ignore}; pathlib.Path('up').touch(); time.sleep(600)"
    process = Process.start(
        "stubborn",
        [sys.executable, "-c", code],
        log_path=tmp_path / "log",
        ready=(tmp_path / "up").exists,
        cwd=tmp_path,
    )
    process.stop(within_seconds=0.3)
    assert not process.running


@pytest.mark.parametrize("victim", ["asker", "guardian"])
def test_programs_end_when_the_process_that_started_them_is_killed(tmp_path: Path, victim: str) -> None:
    asker_code = textwrap.dedent(
        f"""
        import pathlib, signal, sys
        from local.processes import Process
        folder = pathlib.Path({str(tmp_path)!r})
        program = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
        process = Process.start(
            "program", [sys.executable, "-c", program], log_path=folder / "log", cwd=folder,
            ready=lambda: (folder / "pid").exists() and (folder / "pid").read_text() != "",
        )
        print(process.group, flush=True)
        signal.pause()
        """
    )
    with subprocess.Popen([sys.executable, "-c", asker_code], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        guardian = int(asker.stdout.readline())
        program = int((tmp_path / "pid").read_text())
        if victim == "guardian" and sys.platform != "linux":
            guardian = asker.pid  # macOS has no parent-death signal: there only the asker's end is guarded
        os.kill(asker.pid if victim == "asker" else guardian, signal.SIGKILL)
        assert ended(program)
        assert ended(guardian)
        asker.kill()
