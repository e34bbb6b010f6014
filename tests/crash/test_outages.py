"""S3 and SQS each go away for a while under load, and come back: nothing is lost, and nothing has to be restarted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.aws import Aws
from tests.crash.harness import Figures, compare
from tests.crash.senders import Record, Senders
from tests.support.gate import Gate
from tests.support.processes import receiver_pid
from tests.support.receiver import EdgeProcess, association_folders, until


@pytest.mark.parametrize("way", ["refuse", "hang"])
@pytest.mark.parametrize("service", ["S3", "SQS"])
def test_an_outage_under_load_loses_nothing_and_needs_no_restart(
    aws: Aws, bucket: str, tmp_path: Path, service: str, way: str
) -> None:
    port = urlsplit(aws.endpoint_url).port
    assert port is not None
    record = Record()
    prepared = EdgeProcess.prepare(aws, bucket, tmp_path / "edge")
    with Gate(port) as gate, replace(prepared, aws_variables={f"AWS_ENDPOINT_URL_{service}": gate.url}) as edge:
        pid = receiver_pid(edge)
        shut: Callable[[], None] = getattr(gate, way)
        with Senders(edge.port, record, "2.25.1", peers=3, dcmtk=True):
            more(record, 20)
            shut()
            more(record, 100)  # acknowledged meanwhile, as if nothing were amiss
            assert association_folders(edge.spool)
            gate.open()
            more(record, 20)
        figures = Figures()
        compare(edge, record, figures)
        assert receiver_pid(edge) == pid
    assert figures.good, str(figures)
    assert figures.acknowledged > 140


def more(record: Record, count: int) -> None:
    """Return once so many more objects are acknowledged."""
    wanted = len(record.digests) + count
    until(lambda: len(record.digests) >= wanted, "objects acknowledged", within_seconds=60)
