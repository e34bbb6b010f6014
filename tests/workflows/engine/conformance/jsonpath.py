"""Says a neutral definition in JSONPath, the language that moto runs. Raises ValueError where it cannot be said so."""

from __future__ import annotations

import re
from typing import Any

Json = Any

_PATH = re.compile(r"\{% \$states\.(input|result|context)((?:\.\w+)*) %\}")
_ROOTS = {"input": "$", "result": "$", "context": "$$"}


def to_jsonpath(definition: Json) -> Json:
    without = {key: value for key, value in definition.items() if key != "QueryLanguage"}
    return without | {"States": {name: _state(state) for name, state in definition["States"].items()}}


def _state(state: Json) -> Json:
    said: dict[str, Json] = {}
    for field, value in state.items():
        match field:
            case "Arguments":
                said["Parameters"] = _template(value)
            case "Items":
                said["ItemsPath"] = _path(value)
            case "Output":
                said["ResultSelector" if state["Type"] == "Task" else "Parameters"] = _template(value)
            case "Branches":
                said[field] = [to_jsonpath(branch) for branch in value]
            case "ItemProcessor":
                said[field] = to_jsonpath(value)
            case _:
                said[field] = value
    return said


def _template(value: Json) -> Json:
    if isinstance(value, list):
        return [_template(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        **{key: _template(item) for key, item in value.items() if not _is_expression(item)},
        **{f"{key}.$": _path(item) for key, item in value.items() if _is_expression(item)},
    }


def _is_expression(value: Json) -> bool:
    return isinstance(value, str) and value.startswith("{%")


def _path(expression: str) -> str:
    found = _PATH.fullmatch(expression)
    if found is None:
        raise ValueError(f"not a path: {expression}")
    return _ROOTS[found[1]] + found[2]
