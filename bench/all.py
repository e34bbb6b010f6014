"""Everything that the report needs, one benchmark after the other, and then the report.

    ./dev bench all [--only receive,index] [--rounds N] [--quick] [--into DIR]

A benchmark that fails does not keep the others from running: it is named at the end, and the exit code is 1. `--quick` runs
each with its smallest sizes, and all at once, only to see that they work; its figures mean nothing, so it keeps them in a
folder of its own, given by `--into`, with the report beside them. Nothing is committed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.servers import DEFAULT, OURS, OURS_DURABLE_RECYCLING, OURS_RECYCLING, TUNED

_ROOT = Path(__file__).parent.parent
_ROUNDS = 7
_DISK = Path(".state", "bench")
"""On a disk: /tmp is memory on many machines."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One benchmark: `minutes` are about what its 7 rounds take on 2 cores."""

    name: str
    module: str
    minutes: int
    options: tuple[str, ...] = ()
    quick: tuple[str, ...]

    def command(self, *, quick: bool, rounds: int | None) -> list[str]:
        options = self.quick if quick else (*self.options, *(("--rounds", str(rounds)) if rounds else ()))
        return [sys.executable, "-m", f"bench.{self.module}", *options]

    def expected(self, rounds: int | None) -> int:
        return round(self.minutes * (rounds or _ROUNDS) / _ROUNDS)


_PARTS = (
    Part(
        name="receive",
        module="receive",
        minutes=50,
        options=("--slow-rounds", str(_ROUNDS)),
        quick=("--rounds", "1", "--kinds", "ct:8", "--associations", "2", "--servers", f"{OURS}, {TUNED}"),
    ),
    Part(
        name="receive-storescu",
        module="receive",
        minutes=10,
        options=("--name", "receive-storescu", "--client", "DCMTK storescu", "--servers", f"{OURS}, {TUNED}"),
        quick=(
            *("--name", "receive-storescu", "--client", "DCMTK storescu", "--servers", f"{OURS}, {TUNED}"),
            *("--rounds", "1", "--kinds", "ct:4", "--associations", "1"),
        ),
    ),
    Part(
        name="receive-disk",
        module="receive",
        minutes=16,
        options=(
            *("--name", "receive-disk", "--folder", str(_DISK), "--kinds", "ct,tiny"),
            *("--servers", f"{OURS_RECYCLING}, {OURS_DURABLE_RECYCLING}, {DEFAULT}"),
        ),
        quick=(
            *("--name", "receive-disk", "--folder", str(_DISK), "--rounds", "1", "--kinds", "ct:4", "--associations", "4"),
            *("--servers", f"{OURS_RECYCLING}, {OURS_DURABLE_RECYCLING}, {DEFAULT}"),
        ),
    ),
    Part(
        name="syncing",
        module="syncing",
        minutes=2,
        quick=("--rounds", "1", "--objects", "8", "--threads", "4"),
    ),
    Part(
        name="upload",
        module="upload",
        minutes=25,
        quick=(
            "--rounds",
            "1",
            "--servers",
            "a sink",
            "--at-once",
            "2",
            "--objects",
            "8",
            "--share",
            "0.01",
            "--scripts",
            "boto3",
        ),
    ),
    Part(
        name="end_to_end",
        module="end_to_end",
        minutes=45,
        quick=("--objects", "1,2", "--associations", "2", "--rounds", "1", "--timer-seconds", "0.5"),
    ),
    Part(
        name="index",
        module="index",
        minutes=25,
        quick=("--rounds", "1", "--objects", "2", "--kinds", "ct", "--rows", "10,20", "--servers", "ministack,memory+1"),
    ),
    Part(name="scale", module="scale", minutes=10, quick=("--rounds", "1", "--objects", "100,200")),
)


def main() -> None:
    names = [part.name for part in _PARTS]
    parser = argparse.ArgumentParser(prog="./dev bench all", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(names), help=f"of {','.join(names)} (all)")
    parser.add_argument("--rounds", type=int, help="of each (7); below 6 an interval is only the whole range")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes; needs --into")
    parser.add_argument("--into", type=Path, help="a folder for results and report (bench/results and docs)")
    arguments = parser.parse_args()
    if arguments.quick and not arguments.into:
        parser.error("--quick needs --into DIR, so that its figures do not stand among real ones")
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    say = Console(stderr=True, soft_wrap=True)
    parts = [part for part in _PARTS if part.name in chosen]
    if not arguments.quick:
        say.print(f"{len(parts)} benchmarks, about {sum(part.expected(arguments.rounds) for part in parts)} minutes on 2 cores")
    with ThreadPoolExecutor(len(parts) if arguments.quick else 1) as pool:
        ended = list(pool.map(lambda part: _ran(part, arguments, say), parts))
    failed = [part.name for part, well in zip(parts, ended, strict=True) if not well]
    report = [sys.executable, "-m", "bench.report", *(["--into", str(arguments.into)] if arguments.into else [])]
    if subprocess.run(report, cwd=_ROOT, env=_environment(arguments.into), check=False).returncode:  # noqa: S603 - our own
        failed.append("report")
    if failed:
        raise SystemExit(f"These failed: {', '.join(failed)}. What they said stands above; the report has all else.")


def _ran(part: Part, arguments: argparse.Namespace, say: Console) -> bool:
    """Run one benchmark; whether it ended well."""
    expected = "" if arguments.quick else f", about {part.expected(arguments.rounds)} minutes"
    say.print(f"[bold]{part.name}[/bold], {time.strftime('%H:%M')}{expected}")
    (_ROOT / _DISK).mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = part.command(quick=arguments.quick, rounds=arguments.rounds)
    code = subprocess.run(command, cwd=_ROOT, env=_environment(arguments.into), check=False).returncode  # noqa: S603 - our own
    say.print(f"{part.name}: {'ended well' if code == 0 else f'failed with code {code}'}, {_minutes(began):.1f} minutes")
    return code == 0


def _minutes(began: float) -> float:
    return (time.monotonic() - began) / 60


def _environment(into: Path | None) -> dict[str, str]:
    return {**os.environ, **({"BENCH_RESULTS": str(into.resolve() / "results")} if into else {})}


if __name__ == "__main__":
    main()
