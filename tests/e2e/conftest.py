"""The whole pipeline as people run it: `ahi-ingest up` as a program of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.stack import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for the session, for tests that leave it running. Its storage commitment waits for imports."""
    env = {"AHI_INGEST_COMMITMENT_AFTER": "healthimaging"}
    with RunningStack.start(tmp_path_factory.mktemp("stack"), env=env) as running:
        yield running
        assert running.stop() == 0, "`up` did not end in order"
