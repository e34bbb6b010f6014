"""The sweep, and the look for lost events, as they are deployed."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from local.events import RULES_KEPT_SECONDS
from tests.support.associations import Placer
from tests.support.healthimaging import set_faults
from tests.support.pipeline import announce, ct_small_with_uids_of_their_own, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdas.catalog.queries import Association
    from tests.support.stack import RunningStack

RULE = "ahi-ingest-local-execution-changed"


def test_the_deployed_sweep_reaches_s3_the_catalog_and_step_functions_and_finds_nothing_new_astray(stack: RunningStack) -> None:
    answer = stack.aws.functions.invoke(FunctionName="ahi-ingest-local-Sweep", Payload=b"{}")
    found = json.loads(answer["Payload"].read())
    assert not answer.get("FunctionError"), found
    assert found.keys() == {"open", "settled"}
    assert found["open"] == 0


@pytest.fixture
def no_events(stack: RunningStack) -> Iterator[None]:
    """Nobody hears of executions that end."""
    stack.aws.events.disable_rule(Name=RULE)
    time.sleep(2 * RULES_KEPT_SECONDS)
    yield
    stack.aws.events.enable_rule(Name=RULE)


@pytest.mark.usefixtures("no_events")
def test_a_row_is_right_though_the_event_of_the_end_was_lost(stack: RunningStack) -> None:
    set_faults(stack.healthimaging, job_seconds=60)
    placed = Placer(aws=stack.aws, bucket=stack.endpoints["bucket"], edge="local").place(ct_small_with_uids_of_their_own(1))
    announce(stack, placed.message)
    with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as queries:

        def row() -> Association | None:
            return queries.association(placed.association)

        wait_until(lambda: (found := row()) is not None and found.status == "RUNNING", "it runs")
        set_faults(stack.healthimaging)
        arn = f"{stack.endpoints['state_machines']['ingest'].replace(':stateMachine:', ':execution:')}:{placed.association}"
        stack.engine.stepfunctions.stop_execution(executionArn=arn)
        wait_until(lambda: (found := row()) is not None and found.status == "ABORTED", "the row says so")

        def kinds() -> set[str]:
            return {one.kind for one in queries.orphans(settled=True) if one.association == placed.association}

        wait_until(lambda: bool(kinds()), "it was noted")
        assert kinds() == {"EVENT_LOST"}, "nobody but WatchExecutions, which the stack runs all the time"
