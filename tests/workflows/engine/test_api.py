"""The server through boto3, as the rest of the project uses it; every answer is held against botocore's model."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from local.aws import Aws
from local.stepfunctions import Engine, FakeClock
from local.stepfunctions.names import ROLE_ARN, machine_arn
from local.stepfunctions.server import Server
from local.stepfunctions.testing import Stubs
from tests.support.machines import child, fail, machine, map_, parallel, pass_, task, text, wait
from tests.support.shapes import check_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel
    from mypy_boto3_stepfunctions import SFNClient

MISSING = "arn:aws:states:us-east-1:000000000000:execution:m:missing"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> Iterator[Engine]:
    with Engine(Stubs(functions={"F": lambda payload: payload}), clock=clock) as engine:
        yield engine


@pytest.fixture
def client(engine: Engine) -> Iterator[SFNClient]:
    server = Server(engine)
    client = Aws(server.endpoint_url).stepfunctions
    client.meta.events.register("before-parse.sfn", _check)
    yield client
    client.close()
    server.close()


def _check(operation_model: OperationModel, response_dict: dict[str, Any], **_: object) -> None:
    body = json.loads(response_dict["body"])
    assert response_dict["headers"]["x-amzn-RequestId"]
    if response_dict["status_code"] == 200:
        assert operation_model.output_shape is not None
        check_value(operation_model.name, body, operation_model.output_shape)
    else:
        assert body["__type"] in {shape.name for shape in operation_model.error_shapes}


def create(client: SFNClient, name: str, definition: Any) -> str:
    return client.create_state_machine(name=name, definition=text(definition), roleArn=ROLE_ARN)["stateMachineArn"]


def refused(client: SFNClient, code: str) -> Any:
    return pytest.raises(client.exceptions.ClientError, match=rf"\({code}\)")


def test_creation_is_idempotent_and_an_update_changes_what_is_described(client: SFNClient) -> None:
    arn = create(client, "m", machine(pass_("A")))
    assert arn == machine_arn("m")
    assert create(client, "m", machine(pass_("A"))) == arn
    with refused(client, "StateMachineAlreadyExists"):
        create(client, "m", machine(pass_("B")))
    client.update_state_machine(stateMachineArn=arn, definition=text(machine(pass_("B"))))
    described = client.describe_state_machine(stateMachineArn=arn)
    assert described["definition"] == text(machine(pass_("B")))
    assert (described["name"], described["status"], described["type"]) == ("m", "ACTIVE", "STANDARD")


def test_an_execution_keeps_the_definition_that_it_started_with(client: SFNClient) -> None:
    before, after = text(machine(pass_("A"))), text(machine(pass_("B")))
    arn = create(client, "m", machine(pass_("A")))
    execution = client.start_execution(stateMachineArn=arn, name="e")["executionArn"]
    client.update_state_machine(stateMachineArn=arn, definition=after)
    kept = client.describe_state_machine_for_execution(executionArn=execution)
    current = client.describe_state_machine(stateMachineArn=arn)
    assert (kept["definition"], current["definition"]) == (before, after)
    assert kept["revisionId"] != current["revisionId"]
    with refused(client, "ExecutionDoesNotExist"):
        client.describe_state_machine_for_execution(executionArn=MISSING)


def test_what_cannot_be_created(client: SFNClient) -> None:
    with refused(client, "InvalidDefinition"):
        create(client, "m", {"QueryLanguage": "JSONata"})
    with refused(client, "InvalidName"):
        create(client, "a/b", machine(pass_("A")))
    with refused(client, "StateMachineTypeNotSupported"):
        client.create_state_machine(name="m", definition=text(machine(pass_("A"))), roleArn=ROLE_ARN, type="EXPRESS")
    arn = create(client, "m", machine(pass_("A")))
    with refused(client, "InvalidDefinition"):
        client.update_state_machine(stateMachineArn=arn, definition="{}")
    with refused(client, "StateMachineDoesNotExist"):
        client.update_state_machine(stateMachineArn=machine_arn("other"), definition=text(machine(pass_("A"))))


@pytest.mark.parametrize(
    ("operation", "request_", "code", "message"),
    [
        ("list_executions", {"statusFilter": "DONE"}, "ValidationException", "'statusFilter'"),
        ("list_executions", {"maxResults": 1001}, "ValidationException", "'maxResults'"),
        ("list_executions", {"redriveFilter": "REDRIVEN"}, "ValidationException", "'redriveFilter' is not supported"),
        ("list_executions", {"stateMachineArn": MISSING}, "InvalidArn", MISSING),
        ("list_executions", {}, "InvalidArn", ""),
        ("stop_execution", {"executionArn": "e"}, "InvalidArn", ""),
        ("stop_execution", {"executionArn": MISSING, "error": "x" * 257}, "ValidationException", "'error'"),
        ("stop_execution", {"executionArn": MISSING, "cause": "x" * 32_769}, "ValidationException", "'cause'"),
        ("redrive_execution", {"executionArn": MISSING, "clientToken": "a b"}, "ValidationException", "'clientToken'"),
        ("redrive_execution", {"executionArn": MISSING}, "ExecutionDoesNotExist", ""),
        ("describe_execution", {"executionArn": "arn:aws:states:us-east-1:1:execution:m:e"}, "InvalidArn", ""),
        ("describe_execution", {"executionArn": f"{MISSING}{'x' * 250}"}, "InvalidArn", ""),
        ("create_state_machine", {"name": "m", "definition": "{}", "roleArn": "r"}, "InvalidArn", ""),
        (
            *("create_state_machine", {"name": "m", "definition": "{}", "roleArn": ROLE_ARN, "publish": True}),
            *("ValidationException", "'publish' is not supported"),
        ),
        ("update_state_machine", {"stateMachineArn": machine_arn("m")}, "MissingRequiredParameter", ""),
    ],
)
def test_requests_that_break_the_models_rules_are_refused_by_field(
    client: SFNClient, operation: str, request_: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(client.exceptions.ClientError) as refusal:
        getattr(client, operation)(**request_)
    error = refusal.value.response["Error"]
    assert error["Code"] == code
    assert message in error["Message"]


@pytest.mark.parametrize("name", ["x" * 81, "a b", "a/b", "a*b", "a#b", 'a"b', "a\N{NEXT LINE}b", "a:b"])
def test_names_that_aws_forbids(client: SFNClient, name: str) -> None:
    with refused(client, "InvalidName"):
        create(client, name, machine(pass_("A")))
    arn = create(client, "m", machine(pass_("A")))
    with refused(client, "InvalidName"):
        client.start_execution(stateMachineArn=arn, name=name)


def test_state_machines_are_listed_by_pages(client: SFNClient) -> None:
    for name in ("c", "a", "b"):
        create(client, name, machine(pass_("A")))
    first = client.list_state_machines(maxResults=2)
    assert [each["name"] for each in first["stateMachines"]] == ["a", "b"]
    second = client.list_state_machines(maxResults=2, nextToken=first["nextToken"])
    assert [each["name"] for each in second["stateMachines"]] == ["c"]
    assert "nextToken" not in second


def test_an_execution_from_start_to_description(client: SFNClient, engine: Engine) -> None:
    arn = create(client, "m", machine(pass_("A", Output="{% $states.input.n + 1 %}")))
    started = client.start_execution(stateMachineArn=arn, name="e", input='{"n": 1}')
    assert started["executionArn"] == "arn:aws:states:us-east-1:000000000000:execution:m:e"
    engine.wait(started["executionArn"])
    described = client.describe_execution(executionArn=started["executionArn"])
    assert (described["status"], described["input"], described["output"]) == ("SUCCEEDED", '{"n": 1}', "2")
    assert (described["redriveCount"], described["redriveStatus"]) == (0, "NOT_REDRIVABLE")
    assert described["startDate"] == started["startDate"]


def test_starting_again_is_harmless_while_it_runs_and_refused_afterwards(
    client: SFNClient, clock: FakeClock, engine: Engine
) -> None:
    clock.stop()
    arn = create(client, "m", machine(wait("W", 10)))
    first = client.start_execution(stateMachineArn=arn, name="e", input='{"n":1}')
    assert client.start_execution(stateMachineArn=arn, name="e", input='{"n":1}')["executionArn"] == first["executionArn"]
    with refused(client, "ExecutionAlreadyExists"):
        client.start_execution(stateMachineArn=arn, name="e", input='{"n":2}')
    clock.advance(10)
    assert engine.execution(first["executionArn"]).status == "SUCCEEDED"
    with refused(client, "ExecutionAlreadyExists"):
        client.start_execution(stateMachineArn=arn, name="e", input='{"n":1}')


def test_what_cannot_be_started_or_found(client: SFNClient) -> None:
    arn = create(client, "m", machine(pass_("A")))
    with refused(client, "InvalidName"):
        client.start_execution(stateMachineArn=arn, name="a b")
    with refused(client, "InvalidExecutionInput"):
        client.start_execution(stateMachineArn=arn, input="{")
    with refused(client, "InvalidExecutionInput"):
        client.start_execution(stateMachineArn=arn, input="[NaN]")
    with refused(client, "InvalidExecutionInput"):
        client.start_execution(stateMachineArn=arn, input=json.dumps("x" * 262_144))
    with refused(client, "InvalidExecutionInput"):
        client.start_execution(stateMachineArn=arn, input=f'{{"a":1}}{" " * 262_144}')
    with refused(client, "InvalidArn"):
        client.start_execution(stateMachineArn="m")
    with refused(client, "StateMachineDoesNotExist"):
        client.start_execution(stateMachineArn=machine_arn("other"))
    for call in (client.describe_execution, client.get_execution_history, client.stop_execution):
        with refused(client, "ExecutionDoesNotExist"):
            call(executionArn=MISSING)


def test_executions_are_listed_most_recent_first_by_status_and_by_pages(
    client: SFNClient, engine: Engine, clock: FakeClock
) -> None:
    choice = {"Name": "C", "Type": "Choice", "Choices": [{"Condition": "{% $states.input.bad %}", "Next": "F"}], "Default": "A"}
    arn = create(client, "m", machine(choice, fail("F"), pass_("A")))
    for name in ("e1", "e2", "e3", "e4"):
        bad = json.dumps({"bad": name == "e2"})
        engine.wait(client.start_execution(stateMachineArn=arn, name=name, input=bad)["executionArn"])
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=arn, PaginationConfig={"PageSize": 3})
    assert [[each["name"] for each in page["executions"]] for page in pages] == [["e4", "e3", "e2"], ["e1"]]
    failed = client.list_executions(stateMachineArn=arn, statusFilter="FAILED")["executions"]
    assert [each["name"] for each in failed] == ["e2"]
    clock.advance(60)
    client.redrive_execution(executionArn=failed[0]["executionArn"])
    engine.wait(failed[0]["executionArn"])
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=arn, PaginationConfig={"PageSize": 2})
    assert [[each["name"] for each in page["executions"]] for page in pages] == [["e2", "e4"], ["e3", "e1"]]
    with refused(client, "InvalidToken"):
        client.list_executions(stateMachineArn=arn, nextToken="nonsense")


def test_the_history_of_everything_fits_the_model_and_comes_in_pages_both_ways(client: SFNClient, engine: Engine) -> None:
    create(client, "child", machine(pass_("A")))
    arn = create(
        client,
        "m",
        machine(
            pass_("P", Assign={"x": [1]}),
            map_("M", [1, 2], task("T"), wait("W", 1)),
            parallel(
                "Both",
                [child("C", machine_arn("child"))],
                [child("Name", machine_arn("missing"))],
                [wait("Never", 99)],
                Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Bad"}],
            ),
            pass_("Bad", Output="{% $nope %}"),
        ),
    )
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    assert engine.wait(execution).status == "FAILED"
    whole = client.get_execution_history(executionArn=execution)["events"]
    assert {"MapIterationStarted", "TaskSubmitFailed", "EvaluationFailed", "ParallelStateFailed"} <= {e["type"] for e in whole}
    for reverse in (False, True):
        pages = client.get_paginator("get_execution_history").paginate(
            executionArn=execution, reverseOrder=reverse, PaginationConfig={"PageSize": 7}
        )
        events = [event for page in pages for event in page["events"]]
        assert events == (whole[::-1] if reverse else whole)
    bare = client.get_execution_history(executionArn=execution, includeExecutionData=False)["events"]
    assert len(bare) == len(whole)
    assert not any("input" in event.get("stateEnteredEventDetails", {}) for event in bare)


def test_a_stopped_execution_says_why(client: SFNClient, clock: FakeClock) -> None:
    clock.stop()
    arn = create(client, "m", machine(wait("W", 10)))
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    stopped = client.stop_execution(executionArn=execution, error="E", cause="c")
    described = client.describe_execution(executionArn=execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "E", "c")
    assert described["stopDate"] == stopped["stopDate"]
    assert described["redriveStatus"] == "REDRIVABLE"
    assert client.stop_execution(executionArn=execution, error="again")["stopDate"] == stopped["stopDate"]


def test_what_was_answered_does_not_change_when_the_execution_goes_on(engine: Engine, clock: FakeClock) -> None:
    clock.stop()
    execution = engine.start_execution(engine.create_state_machine("m", text(machine(wait("W", 10)))).arn)
    before, _, last = engine.first_and_last_event(execution.arn)
    clock.advance(10)
    assert engine.execution(execution.arn).status == "SUCCEEDED"
    assert (before.status, last.type) == ("RUNNING", "WaitStateEntered")


def test_an_operation_that_nothing_of_ours_calls_is_refused_by_name(engine: Engine) -> None:
    server = Server(engine)
    client = Aws(server.endpoint_url).stepfunctions
    with pytest.raises(client.exceptions.ClientError, match=r"UnknownOperationException.*'ListActivities' is not supported"):
        client.list_activities()
    client.close()
    for headers, body in (({}, b"{}"), ({"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}, b"[")):
        request = urllib.request.Request(server.endpoint_url, data=body, headers=headers)  # noqa: S310 - loopback
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(request, timeout=5)  # noqa: S310
        assert answer.value.code == 400
        answer.value.close()
    server.close()
