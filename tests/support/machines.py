"""Short ways to write state machines in tests of the engine."""

from __future__ import annotations

import json
from typing import Any

Json = Any


def machine(*states: dict[str, Any], **top: Json) -> dict[str, Any]:
    """Its states one after the other, in the order given; a state with a Next, or that needs none, keeps its way."""
    return {"QueryLanguage": "JSONata", **flow(*states), **top}


def flow(*states: dict[str, Any]) -> dict[str, Any]:
    bodies = {}
    for index, state in enumerate(states):
        body = {key: value for key, value in state.items() if key != "Name"}
        if body["Type"] not in ("Choice", "Succeed", "Fail") and "Next" not in body and "End" not in body:
            following = states[index + 1 : index + 2]
            body |= {"Next": following[0]["Name"]} if following else {"End": True}
        bodies[state["Name"]] = body
    return {"StartAt": states[0]["Name"], "States": bodies}


def task(name: str, function: str = "F", **more: Json) -> dict[str, Any]:
    """Invokes a Lambda with the state's input, and puts out what it returns."""
    arguments = {"FunctionName": function, "Payload": "{% $states.input %}"}
    return {
        "Name": name,
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": arguments,
        "Output": "{% $states.result.Payload %}",
        **more,
    }


def child(name: str, machine_arn: str, **more: Json) -> dict[str, Any]:
    arguments = {"StateMachineArn": machine_arn, "Input": "{% $states.input %}", **more.pop("Arguments", {})}
    return {
        "Name": name,
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": arguments,
        "Output": "{% $states.result.Output %}",
        **more,
    }


def pass_(name: str, **more: Json) -> dict[str, Any]:
    return {"Name": name, "Type": "Pass", **more}


def wait(name: str, seconds: Json, **more: Json) -> dict[str, Any]:
    return {"Name": name, "Type": "Wait", "Seconds": seconds, **more}


def fail(name: str, error: str = "Broken", cause: str = "on purpose") -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Error": error, "Cause": cause}


def map_(name: str, items: Json, *states: dict[str, Any], **more: Json) -> dict[str, Any]:
    return {"Name": name, "Type": "Map", "Items": items, "ItemProcessor": flow(*states), **more}


def parallel(name: str, *branches: list[dict[str, Any]], **more: Json) -> dict[str, Any]:
    return {"Name": name, "Type": "Parallel", "Branches": [flow(*branch) for branch in branches], **more}


def text(definition: Json) -> str:
    return json.dumps(definition)
