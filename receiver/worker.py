"""One of several workers: a receiver on a port that it inherited. The supervisor starts it; nobody else does.

Standard input: a line of JSON with the settings, the numbers of the sockets, and which worker this is; then nothing, until
the supervisor ends, however it ends. Then this process lets go of the ports at once, drains, and ends too.
Standard output: its report as JSON, a line a second, the first once it accepts associations. Logs go to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading

from receiver.logs import configure_logs
from receiver.memory import share_heaps
from receiver.process import StopRequest, connect_cloud, starting
from receiver.service import Receiver
from receiver.settings import Settings

_REPORT_EVERY_SECONDS = 1.0


def main() -> None:
    share_heaps()
    stop = StopRequest()
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that nothing else can be taken for a report
    with os.fdopen(0, "rb", closefd=False) as standard_input:
        task = json.loads(standard_input.readline())
    settings = Settings(**task["settings"])
    configure_logs(settings.log_level, worker=task["worker"])
    orphaned = threading.Event()

    def wait_for_supervisor_to_end() -> None:
        os.read(0, 1)  # not by a file object: a thread that waits in one cannot be left behind at the end
        orphaned.set()
        stop.set()

    threading.Thread(target=wait_for_supervisor_to_end, name="lifeline", daemon=True).start()
    plain, tls = (None if file is None else socket.socket(fileno=file) for file in task["sockets"])
    with starting():
        receiver = Receiver(settings, connect_cloud(settings), shared_socket=plain, shared_tls_socket=tls)
        receiver.start()
    while True:
        with contextlib.suppress(BrokenPipeError):  # the supervisor ended a moment ago
            reports.write(json.dumps(receiver.report().to_json()) + "\n")
            reports.flush()
        if stop.drain.is_set():
            receiver.drain()
            if receiver.is_idle:
                break
        if stop.wait(_REPORT_EVERY_SECONDS):
            break
    receiver.stop(keep_port=not orphaned.is_set())


if __name__ == "__main__":
    main()
