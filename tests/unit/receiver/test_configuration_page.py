"""docs/configuration.md lists every setting, with its default and its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_stands_on_the_page_as_it_is(name: str) -> None:
    field = Settings.model_fields[name]
    default = "required" if field.is_required() else f"`{field.default}`"
    assert f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |" in PAGE


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_name_of_a_setting_tells_its_unit(name: str) -> None:
    annotation = Settings.model_fields[name].annotation
    units = ("_seconds", "_days", "_bytes", "_bytes_per_second")
    if annotation is float:
        assert name.endswith(units)
    elif annotation is int and not name.endswith(units):
        assert name.endswith(("port", "workers", "_objects")) or name.startswith("max_associations"), "a count or a port"


def test_the_page_lists_nothing_else() -> None:
    listed = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith(f"| `{PREFIX}")}
    assert listed == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
