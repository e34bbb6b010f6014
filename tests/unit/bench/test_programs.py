"""Which program is DCMTK's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.programs import ProgramError, dcmtk


@pytest.fixture(autouse=True)
def _looked_up_anew() -> None:
    dcmtk.cache_clear()


def test_pynetdicoms_program_of_the_same_name_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    of_pynetdicom = Path(sys.executable).parent
    assert (of_pynetdicom / "echoscu").exists()
    monkeypatch.setenv("PATH", str(of_pynetdicom), prepend=":")
    assert Path(dcmtk("echoscu")).parent != of_pynetdicom


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match=r"nosuchscu is not installed.*apt-get install dcmtk"):
        dcmtk("nosuchscu")
