"""Where the behaviours run: our engine on a clock that jumps, moto's engine, or an AWS account.

A target runs one behaviour and tells what came of it. AWS's is for whoever has an account (README.md of local/stepfunctions);
it needs nothing but boto3's clients, so test_conformance.py tries it against our own engine and the AWS emulator.
"""

from __future__ import annotations

import io
import json
import logging
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import uuid4

import boto3
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

from local.stepfunctions import Engine, FakeClock, TaskError
from local.stepfunctions.names import ROLE_ARN
from local.stepfunctions.testing import outcome
from tests.workflows.engine.conformance import function as scripted
from tests.workflows.engine.conformance.jsonpath import to_jsonpath

if TYPE_CHECKING:
    import pytest
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions import SFNClient

    from tests.workflows.engine.conformance.behaviours import Behaviour

Json = Any

_DESCRIBE_SECONDS = 0.02
_FUNCTION_READY_SECONDS = 60


@dataclass(frozen=True)
class Result:
    status: str
    error: str | None
    output: Json
    delays: list[float]  # between a failed attempt of a task and the next one
    seconds: float
    history: list[str] = field(repr=False)  # each event's type, `<`, and its previousEventId


class Target(Protocol):
    slack_seconds: float
    """How much later than it was told to the target may do a thing."""

    def run(self, behaviour: Behaviour) -> Result: ...


class OurEngine:
    """In process; an hour takes no time."""

    slack_seconds = 0.001

    def run(self, behaviour: Behaviour) -> Result:
        clock = FakeClock()

        async def invoke(_resource: str, arguments: Json) -> Json:
            step = scripted.step_of(arguments["Payload"])
            await clock.sleep(step.get("sleep", 0))
            try:
                return {"Payload": scripted.act(step)}
            except Exception as error:
                raise TaskError(type(error).__name__, json.dumps(_said(error))) from error

        with Engine(invoke, clock=clock) as engine:
            names = {"Function": "F", "Child": ""}
            if behaviour.child is not None:
                names["Child"] = engine.create_state_machine("child", json.dumps(behaviour.child)).arn
            machine = engine.create_state_machine("m", filled(behaviour.definition, names))
            execution = engine.start_execution(machine.arn, input_text=json.dumps(behaviour.input or {}))
            engine.wait(execution.arn)
            ended = outcome(engine, execution.arn)
        return Result(ended.status, ended.error, ended.output, delays_in(ended.history), ended.seconds, chain(ended.history))


class MotosEngine:
    """In process too. Its retries do not sleep: it is asked how long they would have. Its functions are ours."""

    slack_seconds = 0.001

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._slept: list[float] = []
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("moto.stepfunctions.")]:
            # it tells each error with the whole machine
            monkeypatch.setattr(logging.getLogger(name), "disabled", True)
        monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=self._slept.append))
        monkeypatch.setattr(lambda_eval_utils, "boto_client_for", lambda **_: SimpleNamespace(invoke=self._invoke))

    def run(self, behaviour: Behaviour) -> Result:
        with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
            client = boto3.client("stepfunctions", region_name="us-east-1")
            definition = filled(to_jsonpath(behaviour.definition), {"Function": "F"})
            arn = client.create_state_machine(name="m", definition=definition, roleArn=ROLE_ARN)["stateMachineArn"]
            return _execute(client, arn, behaviour.input, delays=self._slept)

    @staticmethod
    def _invoke(**parameters: Any) -> dict[str, Any]:
        payload = parameters["Payload"]
        try:
            said = scripted.handler(payload if isinstance(payload, dict) else json.loads(payload))
        except Exception as error:  # noqa: BLE001 - whatever a Lambda raises is its answer
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(_said(error)).encode())}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(said).encode())}


@dataclass
class AnAccount:
    """An AWS account, or what boto3 is told to take for one. A context manager: what it made there is removed at its end."""

    stepfunctions: SFNClient
    functions: LambdaClient
    machine_role_arn: str
    function_role_arn: str
    slack_seconds: float = 2.0
    function: str = field(default_factory=lambda: f"conformance-{uuid4().hex[:8]}")
    _machines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.write(Path(scripted.__file__), "function.py")
        self.functions.create_function(
            FunctionName=self.function,
            Runtime="python3.13",
            Role=self.function_role_arn,
            Handler="function.handler",
            Code={"ZipFile": archive.getvalue()},
        )
        deadline = time.monotonic() + _FUNCTION_READY_SECONDS
        while self.functions.get_function(FunctionName=self.function)["Configuration"].get("State") == "Pending":
            assert time.monotonic() < deadline, "the function does not become active"
            time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        for arn in self._machines:
            self.stepfunctions.delete_state_machine(stateMachineArn=arn)
        self.functions.delete_function(FunctionName=self.function)

    def run(self, behaviour: Behaviour) -> Result:
        names = {"Function": self.function, "Child": ""}
        if behaviour.child is not None:
            names["Child"] = self._create(json.dumps(behaviour.child))
        return _execute(self.stepfunctions, self._create(filled(behaviour.definition, names)), behaviour.input)

    def _create(self, definition: str) -> str:
        name = f"conformance-{uuid4().hex[:8]}"
        created = self.stepfunctions.create_state_machine(name=name, definition=definition, roleArn=self.machine_role_arn)
        self._machines.append(created["stateMachineArn"])
        return created["stateMachineArn"]


def _said(error: Exception) -> dict[str, str]:
    """What a Lambda answers when its function raises; AWS adds the traceback."""
    return {"errorMessage": str(error), "errorType": type(error).__name__}


def _execute(client: SFNClient, machine_arn: str, input_: Json, *, delays: list[float] | None = None) -> Result:
    arn = client.start_execution(stateMachineArn=machine_arn, input=json.dumps(input_ or {}))["executionArn"]
    while (described := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(_DESCRIBE_SECONDS)
    pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
    history: Any = [event for page in pages for event in page["events"]]
    return Result(
        described["status"],
        described.get("error"),
        json.loads(described["output"]) if "output" in described else None,
        delays_in(history) if delays is None else delays,
        _seconds(history[-1]["timestamp"]) - _seconds(history[0]["timestamp"]),
        chain(history),
    )


def filled(definition: Json, names: Mapping[str, str]) -> str:
    text = json.dumps(definition)
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def chain(history: list[dict[str, Any]]) -> list[str]:
    return [f"{event['type']}<{event['previousEventId']}" for event in history]


def delays_in(history: list[dict[str, Any]]) -> list[float]:
    """Between each TaskFailed and the TaskScheduled that follows it, in seconds."""
    times = [(event["type"], _seconds(event["timestamp"])) for event in history]
    pairs = pairwise(times)
    return [round(at - before, 3) for (first, before), (then, at) in pairs if (first, then) == ("TaskFailed", "TaskScheduled")]


def _seconds(timestamp: Any) -> float:
    return timestamp if isinstance(timestamp, float) else float(timestamp.timestamp())
