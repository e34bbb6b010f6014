"""The AWS emulator of the local stack: ministack, run from an environment of its own (docs/adr/0005).

S3 objects survive kill -9; queues, functions and stacks survive a clean stop only. Lambdas run as processes of the
emulator, with its interpreter, and inherit its environment: `extra_env` is how they learn the other local endpoints.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local.aws import ACCESS_KEY_ID, ACCOUNT, REGION, SECRET_ACCESS_KEY, Aws
from local.processes import LOOPBACK, Process, ProcessError, http_answers

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXECUTABLE = Path(__file__).parent.parent / ".venv-cloud" / "bin" / "ministack"


class MiniStack:
    """A running emulator. Use as a context manager, or call `stop`."""

    def __init__(self, process: Process, endpoint_url: str) -> None:
        self.process = process
        self.endpoint_url = endpoint_url
        self.aws = Aws(endpoint_url)

    @classmethod
    def start(cls, state_folder: Path, port: int, *, extra_env: Mapping[str, str] | None = None) -> Self:
        """Start the emulator of `state_folder` (made when it is missing) on loopback, and return when it answers.

        Raises ProcessError when the emulator's environment was not made, or it does not start.
        """
        if not _EXECUTABLE.exists():
            raise ProcessError(f"There is no AWS emulator at {_EXECUTABLE}. Make its environment with `./dev setup`.")
        state_folder = state_folder.resolve()
        scratch = state_folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)  # unpacked Lambdas of a run that was killed
        scratch.mkdir(parents=True)
        endpoint_url = f"http://{LOOPBACK}:{port}"
        process = Process.start(
            "The AWS emulator",
            [_EXECUTABLE],
            log_path=state_folder / "ministack.log",
            ready=http_answers(f"{endpoint_url}/_ministack/health"),
            env=_clean_environment()
            | {
                "BIND_HOST": LOOPBACK,
                "GATEWAY_PORT": str(port),
                "MINISTACK_HOST": LOOPBACK,  # so that every queue URL names the address that is listened on
                "MINISTACK_ACCOUNT_ID": ACCOUNT,
                "MINISTACK_REGION": REGION,
                "PERSIST_STATE": "1",
                "STATE_DIR": str(state_folder / "state"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(state_folder / "s3"),
                "TMPDIR": str(scratch),
                "AWS_ENDPOINT_URL": endpoint_url,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            }
            | dict(extra_env or {}),
        )
        return cls(process, endpoint_url)

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _clean_environment() -> dict[str, str]:
    """Our environment without the developer's AWS account and Python, neither of which a local Lambda may see."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "VIRTUAL_ENV"))}
