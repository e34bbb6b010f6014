"""Both machines on the engine in this process, with the real handlers on a real catalog, and one fault at will.

S3 and HealthImaging are in memory, time is the fake clock's. A fault strikes at one state, in one of these ways:

    THROWS      the task raises what no retrier names, before it has done anything
    TIMES_OUT   the task does its work, and its answer never comes, however often it is asked
    SIBLING     the other branch fails while the state is at work
    STOP        StopExecution while the state is at work
    KILL        the engine dies while the state is at work, and another goes on from its log

"At work" is the worst moment: what the task does is done, and nobody has heard of it.
"""

from __future__ import annotations

import asyncio
import enum
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import workflows
from lambdas.adapters.aws import Execution
from lambdas.handlers import (
    claim_import,
    collect_results,
    follow_execution,
    index_objects,
    reconcile_association,
    record_failure,
    record_job,
    register_association,
    stage_copies,
)
from local.stepfunctions import ApiError, Engine, FakeClock, TaskError, resources
from local.stepfunctions.names import machine_arn
from local.stepfunctions.testing import Outcome, outcome
from tests.support.lambdas import CONTEXT, DATASTORE
from tests.support.memory_cloud import MemoryImaging, MemoryS3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from lambdas.catalog import Catalog
    from local.stepfunctions import StatusChange
    from tests.support.associations import PlacedAssociation

Json = Any

HANDLERS: dict[str, Callable[[Json, Any], Json]] = {
    "RegisterAssociation": register_association.handler,
    "IndexObjects": index_objects.handler,
    "ReconcileAssociation": reconcile_association.handler,
    "ClaimImport": claim_import.handler,
    "StageCopies": stage_copies.handler,
    "RecordJob": record_job.handler,
    "CollectResults": collect_results.handler,
    "RecordFailure": record_failure.handler,
}
_MODULES = (
    register_association,
    index_objects,
    reconcile_association,
    claim_import,
    stage_copies,
    record_job,
    collect_results,
    record_failure,
    follow_execution,
)
_OPERATIONS = {
    "startDICOMImportJob": "StartImportJob",
    "getDICOMImportJob": "GetImportJob",
    "listDICOMImportJobs": "FindJob",
}
WAITS_AFTER = {"WaitForJob": "RecordJob", "WaitToRetry": "CollectResults"}
INGEST_TASKS = ("RegisterAssociation", "IndexObjects", "ReconcileAssociation")


class Kind(enum.StrEnum):
    THROWS = "throws"
    TIMES_OUT = "times out"
    SIBLING = "sibling fails"
    STOP = "StopExecution"
    KILL = "engine killed"


@dataclass(frozen=True)
class Fault:
    state: str
    kind: Kind


def patch_handlers(monkeypatch: pytest.MonkeyPatch, **made: object) -> None:
    """Let every handler use these in place of what its environment would make, by the names of handlers.environment."""
    for module in _MODULES:
        for name, one in made.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda one=one: one)


class Rehearsal:
    """One association's executions, from the first to the one that ends well. Use as a context manager."""

    def __init__(
        self,
        catalog: Catalog,
        s3: MemoryS3,
        imaging: MemoryImaging,
        log_path: Path,
        *,
        poll_cap_seconds: int = 60,
        import_missing: bool = False,
    ) -> None:
        """With `import_missing` there is no machine of that name before `repair`."""
        self.imaging = imaging
        self.clock = FakeClock()
        self.fault: Fault | None = None
        self.struck = threading.Event()
        self._catalog = catalog
        self._s3 = s3
        self._log_path = log_path
        self._poll_cap_seconds = poll_cap_seconds
        self._import_missing = import_missing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._later: asyncio.Task[None] | None = None
        self._lambda = ThreadPoolExecutor(1)  # one worker: the catalog's connection is one thread's
        self._open()

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self._lambda.shutdown()

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let handlers use this cloud."""
        patch_handlers(monkeypatch, catalog=self._catalog, storage=self._s3, executions=self)

    # What an operator, or an accident, does

    def start(self, placed: PlacedAssociation, *, name: str | None = None, force: bool = False) -> str:
        """StartExecution, by the association's name unless another is given; the execution's ARN."""
        document = placed.document | ({"force": True} if force else {})
        started = self.engine.start_execution(self._ingest, name=name or placed.association, input_text=json.dumps(document))
        return started.arn

    def restart(self, placed: PlacedAssociation) -> str:
        """New execution, as AWS's own console starts it: the same input, and a UUID for a name."""
        return self.start(placed, name=str(uuid4()))

    def kill_engine(self, then: Fault | None = None) -> None:
        """The engine dies, and another takes up its log; with `then`, to meet that fault."""
        self.engine.close()
        self.fault = then
        self._open()

    def stop_child(self) -> None:
        """StopExecution of the import that runs, and not of its parent."""
        self.engine.stop_execution(self.engine.executions(self._import)[0].arn)

    def repair(self) -> None:
        """From now on nothing fails."""
        self.fault = None
        if self._import_missing:
            self._import_missing = False
            self.engine.create_state_machine("import", self._definition("import", ""))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._released.set)

    def ended(self, arn: str) -> Outcome:
        """The outcome of an execution, once it has ended and the event of it was followed."""
        self.engine.wait(arn)
        result = outcome(self.engine, arn)
        self._lambda.submit(lambda: None).result()
        return result

    def histories(self) -> list[list[dict[str, Any]]]:
        """Of every execution, of both machines."""
        arns = [one.arn for machine in (self._ingest, self._import) for one in self.engine.executions(machine)]
        return [outcome(self.engine, arn).history for arn in arns]

    # lambdas.adapters.aws.Executions

    def describe(self, execution_arn: str) -> Execution | None:
        try:
            execution, first, last = self.engine.first_and_last_event(execution_arn)
        except ApiError:
            return None
        return Execution(
            arn=execution_arn,
            status=execution.status,
            redrive_count=len(execution.redrives),
            error=last.details.get("error", "") if execution.status == "FAILED" else "",
            input=json.loads(first.details["input"]),
        )

    # The engine's side

    def _open(self) -> None:
        self._reached, self._released = asyncio.Event(), asyncio.Event()
        self.clock = FakeClock(start=self.clock.now())
        self.engine = Engine(self.invoke, log_path=self._log_path, clock=self.clock, on_status_change=self._follow)
        self._import = machine_arn("import")
        if not self._import_missing:
            self.engine.create_state_machine("import", self._definition("import", ""))
        self._ingest = self.engine.create_state_machine("ingest", self._definition("ingest", self._import)).arn

    def _follow(self, change: StatusChange) -> None:
        """EventBridge's rule and FollowExecution."""
        if change.detail["stateMachineArn"] == self._ingest:
            self._lambda.submit(follow_execution.handler, {"detail": dict(change.detail)}, CONTEXT)

    async def invoke(self, resource: str, arguments: Json) -> Json:
        self._loop = asyncio.get_running_loop()
        name = self._name(resource, arguments)
        fault = self.fault
        if fault is None:
            return await self._act(name, arguments)
        if fault.kind is Kind.SIBLING and name == _sibling_of(fault.state):
            await self._reached.wait()
            raise _unnamed(name)
        if name == fault.state:
            return await self._strike(fault, name, arguments)
        result = await self._act(name, arguments)
        if name == WAITS_AFTER.get(fault.state):
            self._later = asyncio.get_running_loop().create_task(self._strike_soon())
        return result

    async def _strike(self, fault: Fault, name: str, arguments: Json) -> Json:
        if fault.kind is Kind.THROWS:
            raise _unnamed(name)
        if not self.struck.is_set():
            await self._act(name, arguments)
        if fault.kind is Kind.TIMES_OUT:
            self.struck.set()
            await self.clock.sleep(100_000)
        await self._hang()

    async def _strike_soon(self) -> None:
        """A second into a Wait."""
        await self.clock.sleep(1)
        await self._hang()

    async def _hang(self) -> None:
        """Time stands still until the test has done what it does."""
        with self.clock.busy():
            self._reached.set()
            self.struck.set()
            await self._released.wait()

    async def _act(self, name: str, arguments: Json) -> Json:
        with self.clock.busy():
            return await asyncio.get_running_loop().run_in_executor(self._lambda, self._call, name, arguments)

    def _call(self, name: str, arguments: Json) -> Json:
        imaging = {"StartImportJob": self.imaging.start, "GetImportJob": self.imaging.get, "FindJob": self.imaging.list}
        if name in imaging:
            return imaging[name](arguments)
        try:
            answer = HANDLERS[name](json.loads(json.dumps(arguments["Payload"])), CONTEXT)
        except Exception as error:
            raise TaskError(type(error).__name__, json.dumps({"errorMessage": str(error)})) from error
        return {"StatusCode": 200, "Payload": json.loads(json.dumps(answer))}

    def _definition(self, machine: str, import_arn: str) -> str:
        values = {name: name.removesuffix("Function") for name in workflows.placeholders(machine)}
        values |= {"PollFirstSeconds": "10", "PollCapSeconds": str(self._poll_cap_seconds), "SlicesAtOnce": "40"}
        return workflows.substitute(machine, values | {"ImportStateMachineArn": import_arn, "DatastoreId": DATASTORE})

    @staticmethod
    def _name(resource: str, arguments: Json) -> str:
        if resource == resources.LAMBDA:
            return str(arguments["FunctionName"])
        return _OPERATIONS[resource.removeprefix(resources.MEDICAL_IMAGING)]


def _sibling_of(state: str) -> str:
    """What fails in the other branch."""
    return "ClaimImport" if state == "IndexObjects" else "IndexObjects"


def _unnamed(name: str) -> TaskError:
    """What no retrier names."""
    return TaskError("MedicalImaging.ValidationException" if name in _OPERATIONS.values() else "KeyError", "{}")
