"""The physical limit: takes bytes from TCP, writes each object to a new file, answers with one byte. No DICOM.

    python -m bench.sink PORT FOLDER

A process for each connection, as `storescp --fork` has.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from pathlib import Path

_BUFFER_BYTES = 256 * 1024


def main(port: int, folder: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        while True:
            sock, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _serve(sock, folder)
                os._exit(0)
            sock.close()


def _serve(sock: socket.socket, folder: Path) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    number = 0
    while True:
        header = sock.recv(8, socket.MSG_WAITALL)
        if len(header) < 8:
            return
        (left,) = struct.unpack(">Q", header)
        number += 1
        file = os.open(folder / f"{os.getpid()}-{number}", os.O_WRONLY | os.O_CREAT, 0o600)
        while left:
            count = sock.recv_into(buffer[: min(left, _BUFFER_BYTES)])
            if count == 0:
                return
            os.write(file, buffer[:count])
            left -= count
        os.close(file)
        sock.sendall(b"\0")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
