"""JSONata as Step Functions has it: whole-string templates `{% ... %}`, AWS's own functions, and no `$eval`.

- An expression that returns nothing (undefined), a function, or NaN is a QueryError: States.QueryEvaluationError.
- A sequence of one element is that element, as JSONata says and AWS does.
- `$now()` and `$millis()` tell the engine's clock.

Called from the engine's thread only: jsonata-python keeps state per thread. Compiling costs 0.6 ms, evaluating 0.1 ms,
so compiled expressions are kept.
Source: https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import time
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jsonata.functions import Functions
from jsonata.jexception import JException
from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Json = Any  # what json.loads returns

EVALUATION_SECONDS = 5.0  # of one expression; AWS has a limit too, and does not say which

_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_EVAL = re.compile(r"\$eval\s*\(")


class QueryError(Exception):
    """A field has no value. `reason` is told to whoever reads the history."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def is_expression(text: str) -> bool:
    return text.startswith("{%") and text.endswith("%}") and len(text) >= 4


def syntax_error(text: str) -> str | None:
    """Why this string cannot be a template, or None."""
    if not is_expression(text):
        if text.startswith("{%") or text.endswith("%}"):
            return "a JSONata expression must start with '{%' and end with '%}', with nothing around them"
        return None
    if _EVAL.search(text):
        return "the JSONata function $eval is not supported"
    try:
        _compile(_source(text))
    except JException as error:
        return f"the JSONata expression is not valid: {error}"
    except Exception as error:  # noqa: BLE001 - the parser lets its own accidents out on some malformed input
        return f"the JSONata expression is not valid: {type(error).__name__}: {error}"
    return None


def strings(template: Json, location: str) -> Iterator[tuple[str, str]]:
    """Every string of a template, with its location (`/States/A/Arguments/Payload/x`)."""
    if isinstance(template, str):
        yield location, template
    elif isinstance(template, dict):
        for key, value in template.items():
            yield from strings(value, f"{location}/{key}")
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from strings(value, f"{location}[{index}]")


def evaluate(template: Json, bindings: Mapping[str, Json], *, field: str, now: float) -> Json:
    """The template with each `{% ... %}` replaced by its value. Raises QueryError."""
    if isinstance(template, str):
        return _value(template, bindings, field, now) if is_expression(template) else template
    if isinstance(template, dict):
        return {key: evaluate(value, bindings, field=f"{field}/{key}", now=now) for key, value in template.items()}
    if isinstance(template, list):
        return [evaluate(value, bindings, field=f"{field}[{index}]", now=now) for index, value in enumerate(template)]
    return template


def _value(template: str, bindings: Mapping[str, Json], field: str, now: float) -> Json:
    source = _source(template)
    expression = _compile(source)
    frame = expression.create_frame()
    for name, value in bindings.items():
        frame.bind(name, Utils.NULL_VALUE if value is None else value)
    _bind_clock(frame, now)
    frame.bind("__evaluate_entry", _deadline())
    subject = f"The JSONata expression '{source}' specified for the field '{field}'"
    try:
        result = expression.evaluate(None, frame)
    except JException as error:
        raise QueryError(field, f"{subject} threw an error during evaluation. {error.error}: {error}") from error
    except Exception as error:  # the library lets Python's own errors out (division by zero, bad types)
        raise QueryError(field, f"{subject} threw an error during evaluation. {type(error).__name__}: {error}") from error
    if result is None:
        raise QueryError(field, f"{subject} returned nothing (undefined).")
    try:
        return _plain(result)
    except ValueError as error:
        raise QueryError(field, f"{subject} returned an unsupported result type.") from error


def unexpected(template: str, field: str, expected: str, value: Json) -> QueryError:
    """The expression has a value of another type than the field takes (array, integer, boolean, string)."""
    was = "null" if value is None else _TYPES[type(value)]
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    subject = f"The JSONata expression '{_source(template)}' specified for the field '{field}'"
    return QueryError(
        field, f"{subject} returned an unexpected result type. Expected '{expected}', but was '{was}' for value: {shown}"
    )


def _source(template: str) -> str:
    return template[2:-2].strip()


@lru_cache(maxsize=4096)
def _compile(source: str) -> Jsonata:
    expression = Jsonata(source)
    expression.set_validate_input(False)  # inputs are JSON already
    expression.set_output_convert_nulls(False)  # tells null from undefined
    for name, function in _FUNCTIONS.items():
        expression.environment.bind(name, Jsonata.JLambda(function))
    expression.environment.bind("eval", None)
    return expression


def _deadline() -> Callable[..., None]:
    """Called by the library at each step: an expression that does not end must not hold up every other execution."""
    end = time.monotonic() + EVALUATION_SECONDS

    def check(*_: Any) -> None:
        if time.monotonic() > end:
            raise TimeoutError(f"it took longer than {EVALUATION_SECONDS:g} s")

    return check


def _bind_clock(frame: Jsonata.Frame, now: float) -> None:
    milliseconds = int(now * 1000)

    def now_text(picture: str | None = None, timezone: str | None = None) -> Any:
        return Functions.datetime_from_millis(milliseconds, picture, timezone)

    frame.bind("now", Jsonata.JLambda(now_text))
    frame.bind("millis", Jsonata.JLambda(lambda: milliseconds))


def _plain(value: Any) -> Json:
    """The library's value as plain JSON: its null and list classes replaced, whole floats written as integers."""
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(value)
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    raise ValueError(type(value))


def _partition(array: list[Json] | None = None, size: float | None = None) -> list[list[Json]] | None:
    if array is None or size is None:
        return None
    step = int(size)
    if step < 1:
        raise ValueError("$partition needs a size of at least 1")
    return [array[start : start + step] for start in range(0, len(array), step)]


def _range(first: float | None = None, last: float | None = None, step: float = 1) -> Any:
    """A sequence: of one element it is that element (recorded on AWS), unlike $partition's array."""
    if first is None or last is None:
        return None
    if step == 0:
        raise ValueError("$range needs a step that is not zero")
    count = max(0, math.floor((last - first) / step) + 1)
    return Utils.create_sequence_from_iter(first + index * step for index in range(count))


def _hash(data: Json = None, algorithm: str = "SHA-256") -> str | None:
    if data is None:
        return None
    if algorithm not in _HASHES:
        raise ValueError(f"$hash knows {', '.join(_HASHES)}")
    text = data if isinstance(data, str) else json.dumps(_plain(data), separators=(",", ":"), ensure_ascii=False)
    return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _random(seed: float | None = None) -> float:
    return random.random() if seed is None else random.Random(seed).random()


def _parse(text: str | None = None) -> Any:
    if text is None:
        return None
    value = json.loads(text)
    return Utils.NULL_VALUE if value is None else value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": lambda: str(uuid.uuid4()),
    "parse": _parse,
}
