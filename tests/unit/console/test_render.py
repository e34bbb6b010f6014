"""What the console prints is what there is: no value is taken for rich's markup."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from console import render
from console.planning import Act
from console.replay import Done
from lambdas.catalog.queries import Study

STUDY = Study(
    patient_id="1",
    patient_name=None,
    study_instance_uid="1.2",
    study_date=None,
    study_description=None,
    accession_number=None,
    modalities=("CT",),
    series_count=1,
    instance_count=1,
    imported_count=1,
    image_set_ids=(),
    image_set_count=0,
    status="COMPLETE",
)


@pytest.mark.parametrize("value", ["123[/4]", "[red]77", "A[/]7", "[link=x]8", r"9\[b]"])
def test_values_are_printed_as_they_are(value: str) -> None:
    console = Console(record=True, width=200)
    render.studies([replace(STUDY, patient_id=value)], console)
    render.done([Done(association="one", act=Act.NOTHING, said=f"Invalid at {value}", refused=True)], console)
    assert console.export_text().count(value) == 2
