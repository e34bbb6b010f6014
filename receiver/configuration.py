"""Where a receiver's settings come from: the environment, and a TOML file for what the environment does not set.

What is wrong stops the start with a line for each setting that says what to do. A name that no setting has is wrong too: a
misspelt variable would otherwise leave its setting at the default without a word.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from receiver.settings import PREFIX, Settings, SettingsError

CONFIG = f"{PREFIX}CONFIG"
"""The variable that names the TOML file."""

_NOT_OURS = {f"{PREFIX}STATE", f"{PREFIX}STACK"}
"""Where the local stack keeps its state, and which deployed one an operator asks (console/options.py)."""


def read_settings(config: Path | None = None) -> Settings:
    """The settings of this process; `config`, or else AHI_INGEST_CONFIG, is the TOML file. Raises SettingsError."""
    set_here = {name.upper() for name, value in os.environ.items() if name.upper().startswith(PREFIX) and value}
    unknown = _unknown(
        set_here - {CONFIG} - _NOT_OURS, "variable", {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    )
    path = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    in_file: dict[str, Any] = {}
    if path is not None:
        in_file = _read_toml(path)
        unknown += _unknown(in_file, f"key of {path}", Settings.model_fields)
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return Settings(**{name: value for name, value in in_file.items() if f"{PREFIX}{name.upper()}" not in set_here})
    except ValidationError as error:
        raise SettingsError("\n".join(map(_sentence, error.errors(include_url=False, include_context=False)))) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The file {path} cannot be read ({error.strerror}): check --config and {CONFIG}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The file {path} is not TOML ({error}): write one `name = value` a line, without tables."
        ) from None


def _unknown(names: Iterable[str], kind: str, known: Iterable[str]) -> list[str]:
    """A line for each name that is not known."""
    lines = []
    for name in sorted(set(names) - set(known)):
        alike = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {alike[0]}?" if alike else "docs/configuration.md lists them."
        lines.append(f"Remove the {kind} {name}, which is no setting: {hint}")
    return lines


def _sentence(fault: Any) -> str:
    said = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:  # about several settings: the text names them
        return str(said)
    name = str(fault["loc"][0])
    about = Settings.model_fields[name].description or ""
    what = "is not set" if fault["type"] == "missing" else said
    return f"Set {PREFIX}{name.upper()}: {what}. {about}"
