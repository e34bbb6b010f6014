"""The Lambda of the conformance suite: it acts by the script in its payload, one step for each attempt of the state.

So it keeps nothing between calls, and is the same on every target. Standard library only: it is uploaded to AWS as it is.
"""

import time
from typing import Any


def handler(payload: Any, _context: Any = None) -> Any:
    """`{"script": [step, ...], "attempt": 0}`; a step sleeps, raises by a name, or returns a value or a text of some size."""
    step = step_of(payload)
    time.sleep(step.get("sleep", 0))
    return act(step)


def step_of(payload: Any) -> Any:
    script = payload["script"]
    return script[min(payload["attempt"], len(script) - 1)]


def act(step: Any) -> Any:
    if "raise" in step:
        raise type(step["raise"], (Exception,), {})("as told")
    return "x" * step["size"] if "size" in step else step.get("return")
