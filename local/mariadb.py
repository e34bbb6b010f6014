"""The catalog's database on one machine: a private MariaDB whose data, socket, log and password are in one folder.

It listens on loopback only, keeps what it committed through kill -9, and answers to one user, whose password is made at
the first start. The SQL mode is MySQL 8.0's, so that a statement which Aurora would refuse is refused here too.
Database, user and grant are applied by the server itself (`--init-file`) before it takes a connection, so no client is
needed, and a folder whose first start was cut off is completed by the next.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local.processes import LOOPBACK, Process, ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATABASE = "ahi_ingest"
USER = "ahi_ingest"

_INSTALL_HINT = "Install MariaDB: `apt-get install mariadb-server-core mariadb-client-core`, or `brew install mariadb`."
_SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
# The grant is on `ahi_ingest%`, so that tests can make databases of their own beside the catalog's. As Aurora's, the user may
# make others (lambdas.catalog.migration.let_in).
_INIT_SQL = """\
CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS '{user}'@'127.0.0.1' IDENTIFIED BY '{password}';
ALTER USER '{user}'@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON `{database_pattern}%`.* TO '{user}'@'127.0.0.1' WITH GRANT OPTION;
GRANT CREATE USER ON *.* TO '{user}'@'127.0.0.1';
"""


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """Where a MySQL client finds one database."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def __repr__(self) -> str:
        return f"DatabaseAddress({self.user}@{self.host}:{self.port}/{self.database})"


class MariaDb:
    """A running server. Use as a context manager, or call `stop`."""

    def __init__(self, process: Process, address: DatabaseAddress) -> None:
        self.process = process
        self.address = address

    @classmethod
    def start(cls, state_folder: Path, port: int, options: Sequence[str] = ()) -> Self:
        """Start the server of `state_folder` (made when it is missing) on loopback, and return when it answers.

        `options` are the server's, beside its usual ones. Raises ProcessError when MariaDB is not installed, or does not start.
        """
        server = _program("mariadbd")
        state_folder.mkdir(parents=True, exist_ok=True)
        state_folder = state_folder.resolve()
        data, log_path = state_folder / "data", state_folder / "mariadb.log"
        # A server that starts removes every temporary table in its tmpdir, another server's too.
        scratch = state_folder / "tmp"
        scratch.mkdir(exist_ok=True)
        if not data.exists():
            _install(data, scratch, log_path)
        address = DatabaseAddress(host=LOOPBACK, port=port, user=USER, password=_password(state_folder), database=DATABASE)
        process = Process.start(
            "MariaDB",
            [
                server,
                "--no-defaults",
                *_as_root(),
                f"--datadir={data}",
                f"--tmpdir={scratch}",
                f"--bind-address={LOOPBACK}",
                f"--port={port}",
                f"--socket={_socket_path(state_folder)}",
                f"--pid-file={state_folder / 'mariadb.pid'}",
                f"--init-file={_init_file(state_folder, address.password)}",
                "--skip-name-resolve",
                "--skip-log-bin",
                "--skip-slave-start",
                "--performance-schema=OFF",
                "--character-set-server=utf8mb4",
                f"--sql-mode={_SQL_MODE}",
                "--default-time-zone=+00:00",
                "--max-allowed-packet=64M",
                "--max-connections=200",
                "--innodb-buffer-pool-size=128M",
                "--innodb-flush-log-at-trx-commit=1",
                *options,
            ],
            log_path=log_path,
            ready=_greets(port),
        )
        return cls(process, address)

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _as_root() -> list[str]:
    """MariaDB refuses to run as root, unless told to."""
    return ["--user=root"] if os.getuid() == 0 else []


def _program(name: str) -> str:
    # Debian keeps mariadbd in /usr/sbin, which a user's PATH may lack.
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/opt/homebrew/bin"]))
    if path is None:
        raise ProcessError(f"{name} is not installed. {_INSTALL_HINT}")
    return path


def _install(data: Path, scratch: Path, log_path: Path) -> None:
    """Make the data folder under another name and rename it, so that one that exists is whole."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with log_path.open("ab") as log:
        done = subprocess.run(  # noqa: S603 - a program of MariaDB's, with arguments of our own
            [
                _program("mariadb-install-db"),
                "--no-defaults",
                *_as_root(),
                f"--datadir={unfinished}",
                f"--tmpdir={scratch}",
                "--auth-root-authentication-method=socket",  # no password means no login over TCP
                "--skip-name-resolve",
                "--skip-test-db",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise ProcessError(f"mariadb-install-db failed with code {done.returncode}: see {log_path}. {_INSTALL_HINT}")
    unfinished.rename(data)


def _password(state_folder: Path) -> str:
    path = state_folder / "password"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _init_file(state_folder: Path, password: str) -> Path:
    path = state_folder / "init.sql"
    pattern = DATABASE.replace("_", r"\_")
    _write_private(path, _INIT_SQL.format(database=DATABASE, database_pattern=pattern, user=USER, password=password))
    return path


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.rename(path)


def _socket_path(state_folder: Path) -> Path:
    """The socket in the state folder; relative to the data folder when the whole path is too long for a socket (104 bytes)."""
    path = state_folder / "mariadb.sock"
    return path if len(os.fsencode(path)) < 100 else Path("..") / "mariadb.sock"


def _greets(port: int) -> Callable[[], bool]:
    """A probe: ready when the server sends its handshake, which it does only after it has run the init file."""

    def probe() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
                return len(connection.recv(5)) == 5
        except OSError:
            return False

    return probe
