"""The sweep as it is deployed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.stack import RunningStack


def test_the_deployed_sweep_reaches_s3_the_catalog_and_step_functions_and_finds_nothing_new_astray(stack: RunningStack) -> None:
    answer = stack.aws.functions.invoke(FunctionName="ahi-ingest-local-Sweep", Payload=b"{}")
    found = json.loads(answer["Payload"].read())
    assert not answer.get("FunctionError"), found
    assert found.keys() == {"open", "settled"}
    assert found["open"] == 0
