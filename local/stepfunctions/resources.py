"""The Task resources that the engine knows, and what their Arguments may hold.

| resource | arguments |
|---|---|
| `arn:aws:states:::lambda:invoke` | FunctionName, Payload |
| `arn:aws:states:::aws-sdk:medicalimaging:<operation>` | the operation's members, in PascalCase |
| `arn:aws:states:::states:startExecution.sync:2` | StateMachineArn, Input, Name |

Source: https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from local.aws import service_model
from local.stepfunctions.definition import ABSENT, Resource
from local.stepfunctions.expressions import is_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel

    from local.stepfunctions.expressions import Json

LAMBDA = "arn:aws:states:::lambda:invoke"
CHILD = "arn:aws:states:::states:startExecution.sync:2"
MEDICAL_IMAGING = "arn:aws:states:::aws-sdk:medicalimaging:"

_ARGUMENTS = {  # resource: (required, optional)
    LAMBDA: ({"FunctionName"}, {"Payload"}),
    CHILD: ({"StateMachineArn"}, {"Input", "Name"}),
}


def resource(arn: str) -> Resource:
    """Raises ValueError, saying what is supported."""
    if arn == LAMBDA:
        return Resource(arn, "lambda", "invoke")
    if arn == CHILD:
        return Resource(arn, "states", "startExecution.sync:2")
    if arn.startswith(MEDICAL_IMAGING):
        action = arn.removeprefix(MEDICAL_IMAGING)
        if action in medical_imaging_operations():
            return Resource(arn, "aws-sdk:medicalimaging", action)
        raise ValueError(f"medicalimaging has no operation '{action}' that can be called; names begin in lower case")
    raise ValueError(f"the resource '{arn}' is not supported; supported are {LAMBDA}, {CHILD} and {MEDICAL_IMAGING}<operation>")


def argument_problems(called: Resource, arguments: Json) -> Iterator[tuple[str, str]]:
    """What is wrong with a Task's Arguments, and where below them. Values are the service's to judge, at run time."""
    if isinstance(arguments, str) and is_expression(arguments):
        return  # known at run time only
    if arguments is ABSENT:
        arguments = {}
    if not isinstance(arguments, dict):
        yield "Arguments must be an object or a JSONata expression", ""
        return
    if called.arn in _ARGUMENTS:
        required, optional = _ARGUMENTS[called.arn]
    else:
        required, optional = _members(called.action)
    for name in sorted(required - arguments.keys()):
        yield f"These fields are required: [{name}]", ""
    for name in arguments:
        if name not in required | optional:
            yield f"the field '{name}' is not supported by {called.service}:{called.action}", f"/{name}"


def pascal(name: str) -> str:
    """A member's name as Step Functions spells it: `datastoreId` is `DatastoreId`."""
    return name[:1].upper() + name[1:]


@lru_cache(maxsize=1)
def medical_imaging_operations() -> dict[str, OperationModel]:
    """By the name a resource ARN has (`startDICOMImportJob`). Operations that stream their answer cannot be called."""
    model = service_model("medical-imaging")
    operations = (model.operation_model(name) for name in model.operation_names)
    return {
        operation.name[:1].lower() + operation.name[1:]: operation
        for operation in operations
        if not operation.has_streaming_output
    }


def _members(action: str) -> tuple[set[str], set[str]]:
    """Required and optional members of the operation's input. A token that SDKs make up by themselves is optional."""
    shape = medical_imaging_operations()[action].input_shape
    if shape is None:
        return set(), set()
    tokens = {name for name, member in shape.members.items() if member.metadata.get("idempotencyToken")}
    required = {pascal(name) for name in shape.required_members if name not in tokens}
    return required, {pascal(name) for name in shape.members} - required
