"""What bench/end_to_end measures and counts, in short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.counted import counting
from bench.timer import timer_pattern

if TYPE_CHECKING:
    from pathlib import Path


def test_an_association_is_timed_without_its_job_and_what_it_asks_of_aws_is_counted(tmp_path: Path) -> None:
    with counting(tmp_path) as counted:
        figures = counted.association(3, 1)
        (association,) = [one for one in counted.pipeline.catalog.associations() if one.objects == 3]
        seconds = counted.pipeline.seconds(association)
        prefix = counted.pipeline.catalog.import_jobs(association.association)[0].input_s3_uri
        (beside,) = timer_pattern(counted.pipeline.endpoints, [prefix], timer_seconds=0.5)
    assert 0 < seconds < 30
    assert 0 < beside < 30
    assert 5 <= figures["s3_puts"] < 10  # three objects, two manifests, and the edge's report now and then
    assert figures["s3_gets"] >= 3
    assert figures["sqs_calls"] >= 1
    assert figures["invocations"] >= 8
    assert figures["transitions"] > 10
    assert figures["statements"] > 20
    assert figures["gb_s"] > figures["index_gb_s"] > 0
