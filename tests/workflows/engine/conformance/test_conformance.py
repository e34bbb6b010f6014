"""Every behaviour of the table on the target asked for; the neutral ones on moto's engine too, with the same history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.aws import Aws
from local.stepfunctions import Engine
from local.stepfunctions.names import ROLE_ARN
from local.stepfunctions.server import Server
from local.stepfunctions.tasks import AwsTasks
from tests.workflows.engine.conformance.behaviours import BEHAVIOURS, NEUTRAL
from tests.workflows.engine.conformance.targets import AnAccount, MotosEngine, OurEngine, Result

if TYPE_CHECKING:
    from tests.workflows.engine.conformance.behaviours import Behaviour
    from tests.workflows.engine.conformance.targets import Target


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour(name: str, target: Target) -> None:
    check(target.run(BEHAVIOURS[name]), BEHAVIOURS[name], target)


@pytest.mark.parametrize("name", NEUTRAL)
def test_motos_engine_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moto, behaviour = MotosEngine(monkeypatch), NEUTRAL[name]
    theirs, ours = moto.run(behaviour), OurEngine().run(behaviour)
    check(theirs, behaviour, moto)
    if behaviour.same_history:
        assert theirs.history == ours.history


def test_the_suite_runs_over_the_api_and_clears_away_what_it_made(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--target aws` does, against our engine as a server and the emulator's Lambda."""
    with Engine(AwsTasks(aws)) as engine:
        server = Server(engine)
        client = Aws(server.endpoint_url).stepfunctions
        deleted: list[str] = []
        monkeypatch.setattr(client, "delete_state_machine", lambda **machine: deleted.append(machine["stateMachineArn"]))
        with AnAccount(client, aws.functions, machine_role_arn=ROLE_ARN, function_role_arn=ROLE_ARN) as account:
            for name in (
                "retries come before Catch",
                "a result over 256 KiB can be caught",
                ".sync:2 gives the child's output as JSON",
            ):
                check(account.run(BEHAVIOURS[name]), BEHAVIOURS[name], account)
        assert len(deleted) == len(set(deleted)) == 4
        with pytest.raises(aws.functions.exceptions.ResourceNotFoundException):
            aws.functions.get_function(FunctionName=account.function)
        client.close()
        server.close()


def check(result: Result, behaviour: Behaviour, target: Target) -> None:
    assert result.status == behaviour.status
    if result.status != "TIMED_OUT":  # that moto gives no error
        assert result.error == behaviour.error
    if result.status == "SUCCEEDED":
        assert result.output == behaviour.output
    if behaviour.delays is not None:
        assert len(result.delays) == len(behaviour.delays)
        for waited, (least, most) in zip(result.delays, behaviour.delays, strict=True):
            assert least - 0.001 <= waited <= most + target.slack_seconds
    if behaviour.seconds is not None:
        assert result.seconds <= behaviour.seconds
