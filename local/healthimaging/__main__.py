"""`python -m local.healthimaging`: the emulator alone. Prints one line when it is ready; SIGTERM ends it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
import time
import warnings
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from local.aws import Aws
from local.events import EventBus
from local.healthimaging.datastores import Datastores
from local.healthimaging.events import ServiceEvents
from local.healthimaging.faults import Faults
from local.healthimaging.image_sets import ImageSets
from local.healthimaging.import_jobs import ImportJobs
from local.healthimaging.runner import JobRunner
from local.healthimaging.server import Emulator, application
from local.healthimaging.settings import RATES, Rate, Settings
from local.healthimaging.store import Store, StoreError
from local.healthimaging.throttle import Throttle
from local.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # pydicom's warnings and log lines quote the values that they are about.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    asked: dict[str, Rate] = dict(options.rate)
    settings = Settings(
        rates={operation: asked.get(operation, asked.get("all", rate)) for operation, rate in RATES.items()},
        **{each.name: getattr(options, each.name) for each in _settings()},
    )
    try:
        store = Store(options.state / "healthimaging.sqlite")
    except StoreError as error:
        sys.exit(str(error))
    faults = Faults()
    events = ServiceEvents(EventBus(Aws(options.events_endpoint)) if options.events_endpoint else None)
    s3 = Aws(options.s3_endpoint).s3
    runner = JobRunner(store=store, s3=s3, settings=settings, faults=faults, events=events, now=time.time)
    emulator = Emulator(
        import_jobs=ImportJobs(store=store, runner=runner, settings=settings, faults=faults, now=time.time),
        image_sets=ImageSets(store=store, events=events),
        datastores=Datastores(store=store, now=time.time),
        throttle=Throttle(settings.rates, time.monotonic),
        faults=faults,
    )
    if options.datastore_id:
        emulator.datastores.ensure(options.datastore_id)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again when it has shut down
    runner.resume()
    config = uvicorn.Config(application(emulator), log_config=None, access_log=False)
    try:
        asyncio.run(_serve(uvicorn.Server(config), options.port))
    finally:
        runner.stop()
    return 0


async def _serve(server: uvicorn.Server, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
        sys.stdout.write(f"HealthImaging emulator ready on http://{LOOPBACK}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.healthimaging", description=__doc__)
    parser.add_argument("--port", type=int, default=8084, help="port on loopback; 0 takes a free one (default 8084)")
    parser.add_argument("--s3-endpoint", required=True, metavar="URL", help="where S3 is")
    parser.add_argument("--events-endpoint", metavar="URL", help="where EventBridge is; without it no events are sent")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR", help="folder of the emulator's state")
    parser.add_argument("--datastore-id", metavar="ID", help="make this data store unless it exists ([0-9a-z]{32})")
    parser.add_argument(
        "--rate",
        type=_rate,
        action="append",
        default=[],
        metavar="OPERATION=PER_SECOND/BURST",
        help="rate of an operation, or of `all`; may be repeated (default: the service's)",
    )
    for each in _settings():
        kind = type(each.default)
        how: dict[str, Any] = (
            {"action": "store_true"} if kind is bool else {"type": kind, "default": each.default, "metavar": "N"}
        )
        parser.add_argument(f"--{each.name.replace('_', '-')}", **how)
    return parser


def _settings() -> list[Field[Any]]:
    """The settings that are one value each."""
    return [each for each in fields(Settings) if each.name != "rates"]


def _rate(text: str) -> tuple[str, Rate]:
    operation, _, numbers = text.partition("=")
    per_second, _, burst = numbers.partition("/")
    if operation not in {*RATES, "all"}:
        raise argparse.ArgumentTypeError(f"no such operation: {operation}. It is one of all, {', '.join(RATES)}")
    try:
        return operation, Rate(float(per_second), float(burst))
    except ValueError as error:
        raise argparse.ArgumentTypeError("write a rate as OPERATION=PER_SECOND/BURST, for example all=1000/1000") from error


if __name__ == "__main__":
    sys.exit(main())
