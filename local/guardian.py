"""Runs one command so that nothing of it outlives whoever asked for it. Started by `local.processes`, never imported.

    python guardian.py LIFELINE_FD COMMAND...

Invariants:
- This process is started as the leader of a process group, which holds the command and whatever the command starts.
- LIFELINE_FD is the read end of a pipe whose write end only the asker holds. It never carries data: it ends when the
  asker ends, however it ends (kill -9 too), and then the whole group is killed.
- On Linux the command also dies when this process is killed on its own.
- SIGTERM and SIGINT are handed to the command, which ends in its own order; its exit code becomes ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    guardian = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        _die_with(guardian)
        try:
            os.execvp(command[0], command)  # noqa: S606 - running a command is what this is for
        except OSError as error:
            sys.stderr.write(f"Cannot run {command[0]}: {error.strerror}. Install it, or put it on PATH.\n")
            os._exit(127)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    threading.Thread(target=_kill_group_at_end_of, args=(lifeline,), daemon=True).start()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _die_with(guardian: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:  # it died before the call above
        os._exit(1)


def _kill_group_at_end_of(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
