"""Programs by their own paths.

DCMTK's: pynetdicom installs a `storescu`, `storescp` and `echoscu` of its own beside Python. What PATH finds first is no
matter: a program is DCMTK's when it says so. The receiver's Python: of an environment as it is installed, which `./dev bench`
makes, and else our own, which has more to import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

_ALSO = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")

_INSTALLED = Path(__file__).parent.parent / ".venv-edge" / "bin" / "python"
RECEIVER_PYTHON = str(_INSTALLED if _INSTALLED.exists() else sys.executable)


class ProgramError(Exception):
    """A program of DCMTK's is not installed."""


@cache
def dcmtk(program: str) -> str:
    """The path of DCMTK's `storescp`, `storescu`, `echoscu` and so on. Raises ProgramError."""
    for folder in dict.fromkeys([*os.environ.get("PATH", os.defpath).split(os.pathsep), *_ALSO]):
        path = Path(folder, program)
        if os.access(path, os.X_OK) and "dcmtk" in _version(path):
            return str(path)
    raise ProgramError(f"DCMTK's {program} is not installed. On Debian or Ubuntu: apt-get install dcmtk")


def _version(path: Path) -> str:
    """What DCMTK's programs say of themselves: `$dcmtk: storescp v3.6.7 2022-04-22 $`."""
    ran = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - found above
    return ran.stdout
