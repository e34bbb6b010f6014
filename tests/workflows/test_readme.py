"""workflows/README.md: its pictures are those of the machines, and its tables have every state."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import workflows
from tests.support.stub_pipeline import states_of
from workflows.picture import svg

FOLDER = Path(workflows.__file__).parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_the_table_of_a_machine_has_its_states_in_their_order_and_every_cell(machine: str) -> None:
    section = re.split(r"^## ", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    [about] = [text for text in section if text.startswith(f"`{machine}`")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in about.splitlines() if line.startswith("| ")]
    header, *cells = rows
    assert header == ["state", "does", "errors and retry", "durable after it", "a redrive here"]
    assert [row[0] for row in cells] == [name for name, _ in states_of(json.loads(workflows.definition(machine)))]
    assert all(len(row) == 5 and all(row) for row in cells)


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_the_picture_is_the_one_of_the_machines_file(machine: str) -> None:
    assert (FOLDER / f"{machine}.svg").read_text(encoding="utf-8") == svg(machine), "run python -m workflows.picture"


@pytest.mark.parametrize("machine", workflows.MACHINES)
def test_the_picture_has_every_state_and_every_way(machine: str) -> None:
    drawn = ET.fromstring(svg(machine))  # noqa: S314 - our own
    texts = {text.text.strip() for text in drawn.iter(f"{SVG}text") if text.text}
    states = dict(states_of(json.loads(workflows.definition(machine))))
    assert states.keys() <= texts
    ways = 0
    for state in states.values():
        choices = {choice["Next"] for choice in state.get("Choices", [])}
        ways += len(choices | {state.get("Next"), state.get("Default")} - {None}) + len(state.get("Catch", []))
    assert len(list(drawn.iter(f"{SVG}path"))) == ways
