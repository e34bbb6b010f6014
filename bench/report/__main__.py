"""Writes docs/benchmarks.md and its plots from the newest measurement of each name, and compares it with the one before.

./dev bench report [--into DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.report import aims, growth, indexing, pipeline, receiving, syncing, uploading
from bench.report.measurement import Measurement, read
from bench.servers import OURS, OURS_DURABLE_RECYCLING

_HEAD = """# Benchmarks

Written by `./dev bench report` from `bench/results/`, which `./dev bench all` fills; each section names its command. A ratio is
taken within a round, in which every server runs once on the same data, so that what else the machine does falls on all.
Intervals are of the median, from order statistics: they hold the true median in 95% of cases where there were six rounds or
more, and are the whole range where there were fewer.

- **DCMTK storescp, tuned**: `TCP_NODELAY=1 storescp --fork +B -dhl -pdu 131072`. **default, no delay**: only TCP_NODELAY=1.
  **as installed**: `storescp --fork`; Nagle and delayed acknowledgements cost it about 44 ms an object.
- **the reference's pattern**: pynetdicom, the data set decoded, written, and noted in a table in memory.
- **TCP to file, no DICOM**: the limit of this machine: the same bytes from a socket to a new file, one byte as the answer.
- None of the peers syncs. **ahi-ingest, object**, as shipped, does before each 0x0000; **ahi-ingest, none** does not.
  With **recycled files** they write over the files of what they uploaded before, as they do once they run; otherwise all files
  are new, as those of the peers.
- CT objects have 0.5 MiB, tiny ones 22 KiB, a large one 500 MiB in 1,000 frames.

Where the time goes, and what the aims that are not reached would need: [performance.md](performance.md).
"""
_NAMES = ("receive", "receive-storescu", "receive-disk", "syncing", "upload", "end_to_end", "index", "scale")


def sections(measured: dict[str, list[Measurement]], plots: Path) -> list[str]:
    newest = {name: found[0] for name, found in measured.items()}
    out = [_HEAD, aims.section(newest)]
    receive = (
        ("receive", OURS, "Receiving"),
        ("receive-storescu", OURS, "Receiving from DCMTK's storescu"),
        ("receive-disk", OURS_DURABLE_RECYCLING, "Receiving on a disk, synced"),
    )
    out += [
        receiving.section(measured[name], ours=ours, heading=heading, plot=plots / f"{name}.svg")
        for name, ours, heading in receive
        if name in measured
    ]
    if found := measured.get("syncing"):
        out.append(syncing.section(found[0]))
    if found := measured.get("upload"):
        out.append(uploading.section(found))
    if found := measured.get("index"):
        out.append(indexing.section(found))
    if found := measured.get("end_to_end"):
        out.append(pipeline.section(found, newest.get("index")))
    if found := measured.get("scale"):
        out.append(growth.section(found, newest.get("end_to_end"), plots / "growth.svg"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench report", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent.parent.parent / "docs", help="a folder (docs)")
    into: Path = parser.parse_args().into
    measured = {name: found for name in _NAMES if (found := read(name))}
    if not measured:
        raise SystemExit("There are no results yet: ./dev bench all, or one of its parts.")
    path = into / "benchmarks.md"
    into.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(sections(measured, into / "benchmarks")), encoding="utf-8")
    print(f"Wrote {path}.")  # noqa: T201 - a program's answer


if __name__ == "__main__":
    main()
