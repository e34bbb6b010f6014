"""Services are restarted or end the stack when they die, and are stopped in the reverse of their order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.processes import ProcessError
from local.supervisor import Service, ServiceDiedError, Supervisor


class FakeProgram:
    """A program that lives until it is told to die."""

    def __init__(self, name: str, stopped: list[str], log_path: Path) -> None:
        self.log_path = log_path
        self._name = name
        self._stopped = stopped
        self._death = threading.Event()
        self._code = 0

    def die(self, code: int) -> None:
        self._code = code
        self._death.set()

    def wait(self, timeout_seconds: float | None = None) -> int:
        self._death.wait(timeout_seconds)
        return self._code

    def stop(self) -> None:
        self._stopped.append(self._name)
        self._death.set()


class Machine:
    """A supervisor, and services whose every start is remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.reports: list[str] = []
        self.reported = threading.Semaphore(0)
        self.stopped: list[str] = []
        self.programs: dict[str, list[FakeProgram]] = {}
        self.supervisor = Supervisor(report=self.report, monotonic=lambda: self.now)

    def report(self, text: str) -> None:
        self.reports.append(text)
        self.reported.release()

    def service(self, name: str, *, restarts: bool, dies_at_once: bool = False) -> Service:
        def start() -> FakeProgram:
            program = FakeProgram(name, self.stopped, self.folder / f"{name}.log")
            self.programs.setdefault(name, []).append(program)
            if dies_at_once and len(self.programs[name]) > 1:
                program.die(1)
            return program

        return Service(name=name, start=start, restarts=restarts)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_services_are_stopped_in_the_reverse_of_their_order(machine: Machine) -> None:
    for name in ("database", "engine", "receiver"):
        machine.supervisor.start(machine.service(name, restarts=True))
    machine.supervisor.stop()
    assert machine.stopped == ["receiver", "engine", "database"]


def test_the_death_of_one_that_may_not_be_restarted_ends_the_stack_with_the_end_of_its_log(machine: Machine) -> None:
    machine.supervisor.start(machine.service("database", restarts=False))
    (machine.folder / "database.log").write_text("first line\nout of memory\n")
    machine.programs["database"][0].die(137)
    with pytest.raises(ServiceDiedError, match=r"database died, with code 137\.") as died:
        machine.supervisor.supervise()
    assert "out of memory" in str(died.value)


def test_one_that_may_be_restarted_is_and_people_are_told(machine: Machine) -> None:
    machine.supervisor.start(machine.service("receiver", restarts=True))
    machine.supervisor.start(machine.service("database", restarts=False))
    with ThreadPoolExecutor(1) as other:
        watching = other.submit(machine.supervisor.supervise)
        machine.programs["receiver"][0].die(1)
        assert machine.reported.acquire(timeout=10)
        machine.programs["database"][0].die(0)
        assert isinstance(watching.exception(), ServiceDiedError)
    assert machine.reports[0].startswith("receiver died, with code 1.")
    assert len(machine.programs["receiver"]) == 2
    machine.supervisor.stop()
    assert machine.stopped == ["receiver", "database", "receiver"]  # the dead one's remains, then both, last first


def test_one_that_dies_again_and_again_ends_the_stack(machine: Machine) -> None:
    machine.supervisor.start(machine.service("engine", restarts=True, dies_at_once=True))
    machine.programs["engine"][0].die(1)
    with pytest.raises(ServiceDiedError, match="restarted 5 times within a minute"):
        machine.supervisor.supervise()
    assert len(machine.programs["engine"]) == 6


def test_deaths_of_long_ago_are_forgiven(machine: Machine) -> None:
    starts = 0

    def start() -> FakeProgram:
        nonlocal starts
        starts += 1
        if starts == 20:
            raise ProcessError("enough of this test")
        machine.now += 61
        program = FakeProgram("engine", machine.stopped, machine.folder / "engine.log")
        program.die(1)
        return program

    machine.supervisor.start(Service(name="engine", start=start, restarts=True))
    with pytest.raises(ServiceDiedError, match="could not be started again: enough of this test"):
        machine.supervisor.supervise()
    assert starts == 20
