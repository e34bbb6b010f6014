"""The engine as a program: started, killed, and started again."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local.aws import Aws
from tests.support.aws_endpoint import AwsEndpoint
from tests.support.machines import machine, map_, task, text, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_stepfunctions import SFNClient

ROLE_ARN = "arn:aws:iam::000000000000:role/local"


@contextmanager
def engine(*options: str) -> Iterator[tuple[subprocess.Popen[str], SFNClient]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.stepfunctions", "--port", "0", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        ready = re.fullmatch(r"Step Functions engine ready at (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert ready, "the first line says where"
        client = Aws(ready[1]).stepfunctions
        yield process, client
        client.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_kill_9_in_the_middle_of_20_executions_loses_none(tmp_path: Path) -> None:
    """The first engine is killed while half of the invocations have their answer; the second finishes all of them."""
    lock, seen, half, killed = threading.Lock(), [0], threading.Event(), threading.Event()

    def answer(_method: str, _path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        with lock:
            seen[0] += 1
            late = seen[0] > 30
        if late and not killed.is_set():
            half.set()
            killed.wait(30)
        return 200, {}, body * 2

    definition = machine(map_("M", "{% [1..3] %}", task("T"), wait("W", 0), MaxConcurrency=2), task("Sum"))
    definition["States"]["Sum"]["Arguments"]["Payload"] = "{% $sum($states.input) + $states.context.Execution.Input.n %}"
    with AwsEndpoint(answer) as endpoint:
        options = ("--state", str(tmp_path), "--lambda-endpoint", endpoint.url)
        with engine(*options) as (process, client):
            arn = client.create_state_machine(name="m", definition=text(definition), roleArn=ROLE_ARN)["stateMachineArn"]
            started = [
                client.start_execution(stateMachineArn=arn, name=f"e{n}", input=json.dumps({"n": n}))["executionArn"]
                for n in range(20)
            ]
            assert half.wait(30)
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed.set()
        with engine(*options) as (_, client):
            for n, execution in enumerate(started):
                described = finished(client, execution)
                assert (described["status"], described["output"]) == ("SUCCEEDED", str((2 + 4 + 6 + n) * 2))
                history = client.get_execution_history(executionArn=execution, maxResults=1000)["events"]
                assert [event["id"] for event in history] == list(range(1, len(history) + 1))
                assert sum(event["type"] == "MapIterationSucceeded" for event in history) == 3


def finished(client: SFNClient, execution: str) -> Any:
    pause = threading.Event()
    for _ in range(300):
        described = client.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        pause.wait(0.05)
    raise AssertionError(f"{execution} still runs")


def test_sigterm_ends_it_at_once_though_an_invocation_is_in_flight(tmp_path: Path) -> None:
    called, release = threading.Event(), threading.Event()

    def answer(_method: str, _path: str, _body: Any) -> tuple[int, dict[str, str], Any]:
        called.set()
        release.wait(30)
        return 200, {}, None

    with AwsEndpoint(answer) as endpoint, engine("--lambda-endpoint", endpoint.url) as (process, client):
        arn = client.create_state_machine(name="m", definition=text(machine(task("T"))), roleArn=ROLE_ARN)["stateMachineArn"]
        client.start_execution(stateMachineArn=arn)
        assert called.wait(10)
        process.terminate()
        assert process.wait(5) == 0
        release.set()
