"""Each role's policy is what its code calls: calls are recorded by caller, and compared with the synthesized policies.

Every call must be allowed. What is allowed and was not called is listed here with its reason, and nothing else is.
"""

from __future__ import annotations

import fnmatch
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import connect
from local import synth
from local.aws import Aws
from local.healthimaging.launch import set_faults
from local.stack import PORTS
from local.state import StateFolder
from receiver.dicom.sender import send
from tests.support.dicom import ct_series
from tests.support.pipeline import ended, wait_until
from tests.support.recorded_stack import RecordedStack
from tests.support.recording import Call
from tests.support.templates import Template, listed, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What is allowed and may not be called in this run, with the reason.
LAMBDA_ITSELF = "Lambda uses the function's role for its log, for the queue that it reads, and for what failed"
ASTRAY = "only where the sweep finds something astray"
UNUSED: dict[str, dict[str, str]] = {
    "*": {
        **dict.fromkeys(("logs:CreateLogStream", "logs:PutLogEvents"), LAMBDA_ITSELF),
        **dict.fromkeys(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), LAMBDA_ITSELF),
        **dict.fromkeys(("sqs:SendMessage", "sqs:GetQueueUrl"), LAMBDA_ITSELF),
        "s3:ListBucket": "so that S3 answers 404, and not 403, for what is missing",
    },
    "IndexExternal": {
        "s3:GetObject": "only where an event names no version, from a bucket that was brought along without versions",
        "sqs:ChangeMessageVisibility": "of the grant to consume a queue, of which StartExecution alone needs it",
    },
    "RegisterAssociation": {"states:DescribeExecution": "only where another execution held the lease"},
    "StageCopies": {"s3:AbortMultipartUpload": "only where the copy of an object of over 5 GB fails"},
    "Sweep": dict.fromkeys(("s3:GetObject", "sns:Publish", "states:DescribeExecution", "states:StartExecution"), ASTRAY),
    "WatchExecutions": dict.fromkeys(("sns:Publish", "states:DescribeExecution"), "only where an event was lost"),
}
# Of the machines, what Step Functions does by their roles and the local engine by itself, and what is not called in this run.
BY_STEP_FUNCTIONS = {
    **dict.fromkeys(
        ("states:StartExecution", "states:DescribeExecution", "states:StopExecution"), "the child machine, run as `.sync:2`"
    ),
    **dict.fromkeys(("events:PutRule", "events:PutTargets", "events:DescribeRule"), "how `.sync:2` hears of the child's end"),
    **dict.fromkeys(
        (
            *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:GetLogDelivery", "logs:ListLogDeliveries"),
            *("logs:UpdateLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies", "logs:PutResourcePolicy"),
        ),
        "the machine's log",
    ),
    "medical-imaging:ListDICOMImportJobs": "only where an execution died between the start of its job and the record of it",
    "iam:PassRole": "HealthImaging is handed its role within StartDICOMImportJob",
}
NOT_CALLED = {"answer-local"}  # only where commitment waits for the import: tests/e2e/test_commitment.py
BY_EVENTBRIDGE = "-FollowExecution"  # invoked by a rule, which the engine stands in for


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[Call]]]:
    """What was called while an association arrived of which one object fails by HealthImaging's fault, another whose import
    job fails, and an object without a receiver; and a sweep ran."""
    folder: Path = tmp_path_factory.mktemp("recorded")
    with ExitStack() as recorders, StateFolder.owned(folder / "state") as state:
        stack = RecordedStack(state, state.ports(PORTS, dicom_port=None), recorders)
        try:
            endpoints = stack.start()
            aws, healthimaging = Aws(endpoints["aws"]["endpoint_url"]), endpoints["medical_imaging"]["endpoint_url"]
            host, port = endpoints["dicom"]["host"], endpoints["dicom"]["port"]
            first, *_ = files = ct_series(folder, 2)
            aws.s3.upload_file(str(first), endpoints["bucket"], f"external/{first.name}")
            uid = str(pydicom.dcmread(first, stop_before_pixels=True).SOPInstanceUID)
            faults: dict[str, dict[str, Any]] = {
                "CT": {"keys": [{"suffix": f"{uid}.dcm", "error": "server"}]},
                "CT_2": {"failing_jobs": 1},
            }
            with closing(connect(CatalogSettings(**endpoints["mysql"], tls="off"))) as catalog:
                for calling_ae, fault in faults.items():
                    set_faults(healthimaging, **fault)
                    list(send(files, host=host, port=port, calling_ae=calling_ae, called_ae="ANY"))
                    ended(catalog, calling_ae)
            aws.sqs.send_message(QueueUrl=endpoints["queues"]["inbound"], MessageBody="no message of ours")
            for function in ("Sweep", "WatchEdges", "WatchExecutions"):
                aws.functions.invoke(FunctionName=f"ahi-ingest-local-{function}")
            functions = stack.of_functions[0].calls
            wait_until(
                lambda: (
                    {Call("FollowExecution", "sns:Publish"), Call("StartExecution", "sqs:ChangeMessageVisibility")} <= functions
                    and "IndexExternal" in {call.caller for call in functions}
                ),
                "a failure told, a malformed message given back, and an object from elsewhere indexed",
            )
        finally:
            stack.stop()
        yield {
            "functions": stack.of_functions[0].calls | stack.of_functions[1].calls,
            "machines": stack.of_machines[0].calls | stack.of_machines[1].calls,
            "receiver": set(stack.of_receiver.calls),
        }


@pytest.fixture(scope="module")
def stacks() -> dict[str, Template]:
    """The templates that the local stack deployed."""
    assembly = synth.assembly()
    return {name: Template.read(assembly, f"ahi-ingest-{synth.ENVIRONMENT}-{name}") for name in ("ingest", "edge-local")}


def of_functions(ingest: Template) -> dict[str, dict[str, set[str]]]:
    """Function -> what its role allows: action -> resources, rendered."""
    return {
        one["Properties"]["FunctionName"].removeprefix(f"ahi-ingest-{synth.ENVIRONMENT}-"): ingest.allowed(
            one["Properties"]["Role"]["Fn::GetAtt"][0]
        )
        for one in ingest.of("AWS::Lambda::Function").values()
    }


def refused(called: set[Call], allowed: dict[str, set[str]]) -> list[Call]:
    """The calls that a policy does not allow. Of S3, the key has to match too."""
    return sorted(
        call
        for call in called
        if call.action not in allowed
        or (
            call.action.startswith("s3:")
            and call.resource
            and not any(fnmatch.fnmatchcase(call.resource, one.partition("/")[2]) for one in allowed[call.action])
        )
    )


def test_every_call_of_a_function_is_allowed_by_its_own_policy(
    calls: dict[str, set[Call]], stacks: dict[str, Template]
) -> None:
    policies = of_functions(stacks["ingest"])
    callers = {call.caller for call in calls["functions"]}
    assert callers >= policies.keys() - NOT_CALLED
    assert {
        name: refused({call for call in calls["functions"] if call.caller == name}, policies[name]) for name in policies
    } == {name: [] for name in policies}


def test_what_a_function_is_allowed_and_does_not_call_has_its_reason(
    calls: dict[str, set[Call]], stacks: dict[str, Template]
) -> None:
    policies = of_functions(stacks["ingest"])
    for name, reasons in UNUSED.items():
        assert name == "*" or reasons.keys() <= policies[name].keys()
    for name in policies.keys() - NOT_CALLED:
        unused = policies[name].keys() - {call.action for call in calls["functions"] if call.caller == name}
        assert unused <= UNUSED["*"].keys() | UNUSED.get(name, {}).keys(), name


def test_every_call_of_a_state_machine_is_allowed_by_its_policy(
    calls: dict[str, set[Call]], stacks: dict[str, Template]
) -> None:
    ingest = stacks["ingest"]
    allowed: dict[str, set[str]] = {}
    for machine in ingest.of("AWS::StepFunctions::StateMachine").values():
        for action, resources in ingest.allowed(machine["Properties"]["RoleArn"]["Fn::GetAtt"][0]).items():
            allowed.setdefault(action, set()).update(resources)
    names = {
        f"{{{logical_id}.Arn}}": one["Properties"]["FunctionName"]
        for logical_id, one in ingest.of("AWS::Lambda::Function").items()
    }
    may_invoke = {names[arn] for arn in allowed.pop("lambda:InvokeFunction")}
    machines = {call for call in calls["machines"] if not call.resource.endswith(BY_EVENTBRIDGE)}
    assert {call.resource for call in machines if call.action == "lambda:InvokeFunction"} <= may_invoke
    called = {call.action for call in machines if call.action.startswith("medical-imaging:")}
    assert allowed.keys() - called == BY_STEP_FUNCTIONS.keys()
    assert called <= allowed.keys()


def test_every_call_of_the_receiver_is_allowed_by_its_edges_policy(
    calls: dict[str, set[Call]], stacks: dict[str, Template]
) -> None:
    ((_, policy),) = stacks["edge-local"].of("AWS::IAM::ManagedPolicy").items()
    allowed: dict[str, set[str]] = {}
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        for action in listed(statement["Action"]):
            allowed.setdefault(action, set()).update(str(text(one)) for one in listed(statement["Resource"]))
    assert refused(calls["receiver"], allowed) == []
    assert {call.action for call in calls["receiver"]} >= {"s3:PutObject", "sqs:SendMessage"}
    unused = allowed.keys() - {call.action for call in calls["receiver"]}
    # A large upload that fails; a PUT that finds its key taken; commitment that waits for the import.
    assert unused == {"s3:AbortMultipartUpload", "s3:GetObject", "lambda:InvokeFunction"}
