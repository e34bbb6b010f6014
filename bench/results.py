"""The results of measurements, kept as JSON beside those before them: bench/results/<name>.json, the newest first."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_KEPT = 5


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pynetdicom": version("pynetdicom"),
        "dcmtk": _first_line("storescp", "--version"),
        "orthanc": _first_line("Orthanc", "--version"),
        "commit": _first_line("git", "rev-parse", "--short", "HEAD"),
    }


def _first_line(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - constants
    except FileNotFoundError:
        return "not installed"
    first = ran.stdout.strip().splitlines()[0] if ran.stdout.strip() else "?"
    version_in = re.search(r"v?\d+\.\d[\w.]*", first)
    return version_in[0] if version_in else first.strip()


class Results:
    """One measurement: the figures of each round, by cell."""

    def __init__(self, name: str, **conditions: Any) -> None:
        self._name = name
        self._cells: dict[str, dict[str, list[float]]] = {}
        self._conditions = conditions

    def add(self, server: str, kind: str, associations: int, figures: Mapping[str, float]) -> None:
        cell = self._cells.setdefault(f"{server} | {kind} | {associations}", {})
        for name, figure in figures.items():
            cell.setdefault(name, []).append(float(f"{figure:.4g}"))

    def save(self) -> Path:
        """Put this measurement before the earlier ones of its name."""
        path = FOLDER / f"{self._name}.json"
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        document = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "conditions": self._conditions,
            "cells": self._cells,
        }
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps([document, *earlier][:_KEPT], indent=1) + "\n", encoding="utf-8")
        return path
