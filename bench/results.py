"""The results of measurements, kept as JSON beside those before them: bench/results/<name>.json, the newest first.

BENCH_RESULTS names another folder, for runs that only try whether all works.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from bench.programs import RECEIVER_PYTHON, ProgramError, dcmtk

_KEPT = 5


def folder() -> Path:
    return Path(os.environ.get("BENCH_RESULTS") or Path(__file__).parent / "results")


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "receiver_python": _receiver_python(),
        "pynetdicom": version("pynetdicom"),
        "dcmtk": _dcmtk_version(),
        "orthanc": _first_line("Orthanc", "--version"),
        "commit": _first_line("git", "describe", "--always", "--dirty", "--exclude=*"),
    }


def _receiver_python() -> str:
    """Which interpreter runs the receiver where one is started alone: as compiled, it says much about speed."""
    ask = "import sys; print(sys.version.split()[0], *(['of the distribution'] if sys.base_prefix == '/usr' else []))"
    return subprocess.run([RECEIVER_PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - our own


def _dcmtk_version() -> str:
    try:
        return _first_line(dcmtk("storescp"), "--version")
    except ProgramError:
        return "not installed"


def _first_line(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - constants
    except FileNotFoundError:
        return "not installed"
    first = ran.stdout.strip().splitlines()[0] if ran.stdout.strip() else "?"
    version_in = re.search(r"v?\d+\.\d[\w.]*", first)
    return version_in[0] if version_in else first.strip()


class Results:
    """One measurement: the figures of each round, by cell. Use as a context manager: its end saves what was measured.

    One that an error broke off is saved too, and says so: the rounds that it has are whole.
    """

    def __init__(self, name: str, **conditions: Any) -> None:
        self._name = name
        self._cells: dict[str, dict[str, list[float]]] = {}
        self._conditions = conditions

    def add(self, server: str, kind: str, associations: int, figures: Mapping[str, float]) -> None:
        cell = self._cells.setdefault(f"{server} | {kind} | {associations}", {})
        for name, figure in figures.items():
            cell.setdefault(name, []).append(float(f"{figure:.4g}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._cells and not isinstance(error, KeyboardInterrupt):
            path = self._save(broken_off=error is not None)
            print(f"Kept in {path}. `./dev bench report` writes docs/benchmarks.md.", file=sys.stderr)  # noqa: T201

    def _save(self, *, broken_off: bool) -> Path:
        """Put this measurement before the earlier ones of its name."""
        path = folder() / f"{self._name}.json"
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        document = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["./dev", "bench", Path(sys.argv[0]).stem, *sys.argv[1:]]),
            "machine": machine(),
            "conditions": self._conditions,
            "broken_off": broken_off,
            "cells": self._cells,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([document, *earlier][:_KEPT], indent=1) + "\n", encoding="utf-8")
        return path
