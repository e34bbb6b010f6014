"""The state machines, as files in the Amazon States Language (JSONata), and nothing else.

`ingest.asl.json` takes an association from its SQS message to its verdict; `import.asl.json` takes one part of it through
one HealthImaging import job. README.md tells what each state does and what a redrive does there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

MACHINES = ("import", "ingest")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")


def definition(machine: str) -> str:
    """The text of a machine of `MACHINES`, with its `${Placeholders}` for CloudFormation's DefinitionSubstitutions."""
    if machine not in MACHINES:
        raise KeyError(machine)
    return (Path(__file__).parent / f"{machine}.asl.json").read_text(encoding="utf-8")


def placeholders(machine: str) -> frozenset[str]:
    """The names that must be substituted in a machine."""
    return frozenset(_PLACEHOLDER.findall(definition(machine)))


def substitute(machine: str, values: Mapping[str, str]) -> str:
    """The definition with every placeholder replaced. Raises KeyError for one without a value."""
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], definition(machine))
