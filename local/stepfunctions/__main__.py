"""`python -m local.stepfunctions`: the engine alone, as a server."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from local.aws import Aws
from local.events import EventBus
from local.stepfunctions.engine import Engine
from local.stepfunctions.server import Server
from local.stepfunctions.tasks import AwsTasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.stepfunctions.execution import StatusChange

LOG_NAME = "stepfunctions.sqlite"
_DELIVERERS = 8

_EPILOG = """\
example, beside an AWS emulator on port 4566:

  python -m local.stepfunctions --port 8083 --lambda-endpoint http://127.0.0.1:4566 --state .state
  AWS_ENDPOINT_URL_SFN=http://127.0.0.1:8083 aws stepfunctions list-state-machines

The engine runs STANDARD state machines in JSONata, and refuses at CreateStateMachine what it does not carry out exactly.
Its only store is an event log in --state: after a kill -9, start it again on the same folder and executions go on.
"""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    log_path = None
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True)
        log_path = options.state / LOG_NAME
    imaging_url, events_url = options.medical_imaging_endpoint, options.events_endpoint
    tasks = AwsTasks(Aws(options.lambda_endpoint), Aws(imaging_url) if imaging_url else None)
    on_status_change = event_delivery(EventBus(Aws(events_url))) if events_url else None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        engine = Engine(tasks, log_path=log_path, on_status_change=on_status_change)
    except RuntimeError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    with engine:
        try:
            server = Server(engine, options.port)
        except OSError as error:
            print(f"cannot listen on port {options.port}: {error.strerror}. Try --port 0", file=sys.stderr)  # noqa: T201
            return 1
        print(f"Step Functions engine ready at {server.endpoint_url}", flush=True)  # noqa: T201
        stop.wait()
        server.close()
    return 0


def event_delivery(bus: EventBus) -> Callable[[StatusChange], None]:
    """Delivers status changes to the event bus, off the engine's thread; those of one execution in their order."""
    lanes = [ThreadPoolExecutor(1, thread_name_prefix="events") for _ in range(_DELIVERERS)]

    def deliver(change: StatusChange) -> None:
        lanes[hash(change.execution_arn) % _DELIVERERS].submit(
            bus.deliver,
            source="aws.states",
            detail_type="Step Functions Execution Status Change",
            detail=change.detail,
            resources=[change.execution_arn],
        )

    return deliver


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.stepfunctions",
        description="AWS Step Functions for development and tests, on loopback.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--port", type=int, default=8083, help="on 127.0.0.1; 0 takes a free one, and the ready line says which (default: 8083)"
    )
    add("--lambda-endpoint", required=True, metavar="URL", help="where lambda:invoke goes")
    add("--medical-imaging-endpoint", metavar="URL", help="where aws-sdk:medicalimaging goes; without it those tasks fail")
    add("--events-endpoint", metavar="URL", help="whose event rules hear of status changes; without it nobody does")
    add("--state", type=Path, metavar="DIR", help="folder of the event log; without it all is gone with the process")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # without waiting for invocations in flight, which may take 15 minutes: they are made again
