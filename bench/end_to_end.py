"""From an association's release to its ImageSetIds in MySQL, less the import job's own time, on the local stack.

    ./dev bench end_to_end [--objects 1,100,1000,5000] [--associations 1,20,100] [--rounds N] [--timer-seconds 60]

The job's own time is what HealthImaging says: from submitted to ended. All else is ours: upload of what is left, manifest,
queue, execution, Lambdas, polls, and the wait for HealthImaging's rate of one start a second. Beside it runs the reference's
pattern (bench/timer.py), on the same prefixes. A second stack then counts what one association of each size asks of AWS
(bench/counted.py), once: counts do not vary as times do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tomllib
from contextlib import closing
from pathlib import Path

from rich.console import Console

from bench import results
from bench.counted import counting
from bench.pipeline import Pipeline
from bench.timer import timer_pattern
from lambdas.catalog import CatalogSettings
from lambdas.catalog.queries import Association, connect
from local import synth
from tests.support.stack import RunningStack

OURS, COUNTED, TIMER = "ahi-ingest", "ahi-ingest, counted", "a timer of one minute"
OBJECTS_OF_MANY = 10
_TIMED = 20


def timed(arguments: argparse.Namespace, folder: Path, kept: results.Results, say: Console) -> None:
    """Every round of every cell, and then the reference's pattern on the last associations."""
    run = int(time.time())
    cells = [(int(objects), 1) for objects in arguments.objects.split(",")]
    cells += [(OBJECTS_OF_MANY * int(count), int(count)) for count in arguments.associations.split(",")]
    stack = RunningStack.start(folder)
    try:
        with closing(connect(CatalogSettings(**stack.endpoints["mysql"], tls="off"))) as catalog:
            pipeline = Pipeline(stack.endpoints, catalog)
            pipeline.send(10, 1, run)  # the Lambdas are warm afterwards
            seen: list[Association] = []
            for number in range(arguments.rounds):
                for objects, associations in cells:
                    run += 1
                    say.print(f"round {number + 1}: {objects} objects over {associations} association(s)")
                    ended = pipeline.send(objects, associations, run)
                    spent = [pipeline.seconds(one) for one in ended]
                    figures = {"objects": objects, "seconds_median": statistics.median(spent), "seconds_most": max(spent)}
                    kept.add(OURS, f"{objects // associations} objects each", associations, figures)
                    seen += ended
            if arguments.timer_seconds:
                say.print("the reference's pattern")
                prefixes = [catalog.import_jobs(one.association)[0].input_s3_uri for one in seen[-_TIMED:]]
                for seconds in timer_pattern(stack.endpoints, prefixes, arguments.timer_seconds):
                    kept.add(TIMER, "any number of objects", _TIMED, {"seconds_median": seconds})
    finally:
        stack.stop()


def counted(arguments: argparse.Namespace, folder: Path, kept: results.Results, say: Console) -> None:
    with counting(folder) as stack:
        for number, objects in enumerate(map(int, arguments.objects.split(","))):
            say.print(f"counting: {objects} objects")
            kept.add(COUNTED, f"{objects} objects each", 1, stack.association(objects, int(time.time()) + number))


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench end_to_end", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", default="1,100,1000,5000", help="objects of one association (1,100,1000,5000)")
    parser.add_argument("--associations", default="1,20,100", help=f"at once, of {OBJECTS_OF_MANY} objects each (1,20,100)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--timer-seconds", type=float, default=60, help="of the reference's pattern (60); 0 leaves it out")
    arguments = parser.parse_args()
    conditions = {"timer_seconds": arguments.timer_seconds, **_polls()}
    with (
        tempfile.TemporaryDirectory(prefix="ahi-ingest-bench-") as folder,
        results.Results("end_to_end", **conditions) as kept,
    ):
        say = Console(stderr=True)
        timed(arguments, Path(folder) / "timed", kept, say)
        counted(arguments, Path(folder) / "counted", kept, say)


def _polls() -> dict[str, int]:
    """How often the local stack asks for an import job's status: first, and at most."""
    polling = tomllib.loads(synth.CONFIG)["polling"]
    return {f"poll_{name}": polling[name] for name in ("first_seconds", "cap_seconds")}


if __name__ == "__main__":
    main()
