"""Our own AWS Step Functions: the state machines of this project on one machine, for development and tests.

As a server, with boto3 as its client: `python -m local.stepfunctions --help`, and README.md beside this file.

In a test, in process, on a clock that jumps over waits:

    from local.stepfunctions import TaskError
    from local.stepfunctions.testing import Stubs, run

    def index(payload):
        if payload["slice"] == 3:
            raise TaskError("OperationalError", "the catalog is away")
        return {"indexed": 100}

    stubs = Stubs(functions={"IndexObjects": index})
    outcome = run(definition, {"association": "20261124T021501Z-CT-9f3c2a71"}, stubs)

    outcome.status, outcome.output, outcome.error, outcome.cause     # "FAILED", None, "OperationalError", ...
    outcome.types()                                                  # ["ExecutionStarted", "MapStateEntered", ...]
    outcome.seconds                                                  # of the execution, on the fake clock
    stubs.calls                                                      # what was called, in order

Several machines, a restart, a StopExecution, a redrive: use the `Engine` itself.

    with Engine(stubs, log_path=tmp_path / "log.sqlite", clock=FakeClock()) as engine:
        child = engine.create_state_machine("import", import_definition)
        parent = engine.create_state_machine("ingest", ingest_definition)
        execution = engine.start_execution(parent.arn, name="a-1", input_text="{}")
        engine.wait(execution.arn)
        outcome = testing.outcome(engine, execution.arn)

An invoker is any `(resource, arguments) -> result` that raises TaskError; as a coroutine function it may
`await clock.sleep(30)` to take its time. `Engine.close()` is the same as a crash: open the log again, and it goes on.
"""

from local.stepfunctions.clock import Clock, FakeClock, SystemClock
from local.stepfunctions.engine import Engine
from local.stepfunctions.errors import ApiError, StateError, TaskError
from local.stepfunctions.execution import Execution, StatusChange

__all__ = ["ApiError", "Clock", "Engine", "Execution", "FakeClock", "StateError", "StatusChange", "SystemClock", "TaskError"]
