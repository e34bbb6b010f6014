"""The local environment's cloud assembly: synthesized by `python -m cdk`, and kept while nothing that it is made of changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.aws import ACCOUNT, REGION
from local.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = "local"
EDGE = "local"
BUCKET = "ahi-ingest-local"
SECRET = "ahi-ingest-local/catalog"  # noqa: S105 - a name; a partial ARN, so that it outlives the emulator's secrets
DATASTORE_ID = "ahiingestlocal000000000000000000"
IMPORT_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/ahi-ingest-local-import"

CONFIG = f"""\
environment = "{ENVIRONMENT}"
region = "{REGION}"
lambda_platform = "this-machine"

[edges.{EDGE}]
commitment = "healthimaging"

[network]
vpc = "none"

[storage]
bucket_name = "{BUCKET}"
encryption = "s3"
access_logs = false
archive_after_days = 0

[catalog]
secret_arn = "arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{SECRET}"
tls = "off"
connections = 0
slices_at_once = 4
migrate_on_deploy = false

[operations]
saved_queries = false
tracing = false

[imaging]
datastore_id = "{DATASTORE_ID}"
import_role_arn = "{IMPORT_ROLE_ARN}"

[polling]
first_seconds = 1
cap_seconds = 1
"""

_ROOT = Path(__file__).resolve().parent.parent
_MADE_OF = ("cdk", "contract", "workflows", "lambdas")
_KEPT = 4


class SynthError(Exception):
    """The CDK app could not be synthesized. The text holds what it said."""


def assembly(build_folder: Path = _ROOT / ".build" / "local") -> Path:
    """The folder of the local environment's cloud assembly. Raises SynthError."""
    build_folder.mkdir(parents=True, exist_ok=True)
    folder = build_folder / _key()
    if not folder.exists():
        unfinished = build_folder / f"unfinished-{os.getpid()}"
        try:
            _synthesize(unfinished)
            if not folder.exists():  # another `up` may have been quicker
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        _forget_older(build_folder)
    folder.touch()
    return folder


def _synthesize(output: Path) -> None:
    output.mkdir()
    config, log = output / "local.toml", output / "synth.log"
    config.write_text(CONFIG)
    command: list[str | Path] = [sys.executable, "-m", "cdk", "--config", config, "--output", output]
    with Process.start("Synthesizing", command, log_path=log, ready=lambda: True, cwd=_ROOT) as process:
        code = process.wait()
    if code:
        raise SynthError(f"The CDK app was not synthesized:\n{log.read_text(errors='replace').strip()}")


def _key() -> str:
    """A hash of everything that the assembly is made of."""
    whole = hashlib.sha256(f"{sys.version}\0{CONFIG}".encode())
    for path in [_ROOT / "uv.lock", *_sources()]:
        whole.update(f"{path.relative_to(_ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:32]


def _sources() -> Iterator[Path]:
    for name in _MADE_OF:
        yield from sorted(path for path in (_ROOT / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _forget_older(build_folder: Path) -> None:
    folders = sorted((path for path in build_folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
