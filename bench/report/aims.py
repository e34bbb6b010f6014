"""What the product set itself, beside what was measured."""

from __future__ import annotations

import operator
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.end_to_end import OURS as PIPELINE
from bench.index import OURS as INDEXER
from bench.index import READING
from bench.index import REFERENCE as INDEX_REFERENCE
from bench.measure import Interval, interval
from bench.report.indexing import FETCHED as INDEX_BYTES
from bench.report.indexing import SPEED as INDEX_SPEED
from bench.report.measurement import Cell, Measurement, number, shown, table
from bench.report.pipeline import SECONDS, timer
from bench.report.uploading import both
from bench.scale import SERVER
from bench.servers import DEFAULT, INSTALLED, ORTHANC, OURS, OURS_DURABLE_RECYCLING, OURS_RECYCLING, PYNETDICOM, SINK, TUNED
from bench.upload import OURS as RECEIVER
from bench.upload import WATCHED

_FLAT = 1.1
"""How "flat" is read, which no aim says in figures."""
_DRAINED = 0.9
"""How "drains while receiving" is read: of all objects, at least a tenth is in S3 by the time that the last is received."""
_MB = 2**20 / 1e6
_CPU, _PEAK, _LEFT = "cpu_ms_per_object", "peak_mib", "left_when_received"


@dataclass(frozen=True, kw_only=True)
class Aim:
    """A figure that is to be reached. `measured` is None where nothing was measured.

    `bare` is the same ratio of a process that does the bare minimum, where that says what can be reached.
    """

    what: str
    limit: float
    measured: float | None
    said: str
    at_most: bool = False
    unit: str = ""
    bare: Interval | None = None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        better = operator.le if self.at_most else operator.ge
        return "reached" if better(self.measured, self.limit) else "**not reached**"

    @property
    def line(self) -> list[str]:
        limit = f"{'at most' if self.at_most else 'at least'} {self.limit:g}{self.unit}"
        return [self.what, limit, self.said, self.verdict, shown(self.bare) if self.bare else ""]


def section(measurements: Mapping[str, Measurement]) -> str:
    """One line for each aim: aim, measured, reached or not. `measurements` are the newest, by name."""
    lines = [aim.line for aim in [*_receiving(measurements), *_memory(measurements), *_rest(measurements)]]
    note = (
        f"**Bare work** is the same ratio of what does nothing else ({SINK}; {READING}): what is above it is hardly to be had "
        "on this machine. A verdict goes by the median; where the interval in brackets holds the aim, another run may say "
        "otherwise.\n"
    )
    return "\n".join(["## What was to be reached\n", table(["", "aim", "measured", "", "bare work"], lines), note])


def _of(what: str, limit: float, one: Interval | None, bare: Interval | None = None) -> Aim:
    return Aim(what=what, limit=limit, measured=one.median if one else None, said=shown(one), bare=bare)


def _least(
    what: str,
    limit: float,
    by_cell: Mapping[Cell, Interval],
    *,
    at_most: bool = False,
    bare: Mapping[Cell, Interval] | None = None,
) -> Aim:
    """An aim for every cell: the worst one counts, and is named."""
    if not by_cell:
        return Aim(what=what, limit=limit, measured=None, said="-", at_most=at_most)
    worst = (max if at_most else min)(by_cell, key=lambda cell: by_cell[cell].median)
    one = by_cell[worst]
    return Aim(
        what=what,
        limit=limit,
        measured=one.median,
        said=f"{shown(one)}, {worst[0]} x{worst[1]}",
        at_most=at_most,
        bare=min((bare or {}).values(), key=lambda ratio: ratio.median, default=None),
    )


def _ratios(
    measurement: Measurement | None, ours: str, peer: str, wanted: Callable[[Cell], bool], name: str
) -> dict[Cell, Interval]:
    cells = [cell for cell in measurement.cells if wanted(cell)] if measurement else []
    return {cell: one for cell in cells if measurement and (one := measurement.ratio(ours, peer, cell, name))}


def _mean(
    measurement: Measurement | None, ours: str, peer: str, wanted: Callable[[Cell], bool] = lambda _: True
) -> Interval | None:
    return measurement.mean_ratio(ours, peer, [cell for cell in measurement.cells if wanted(cell)]) if measurement else None


def _receiving(measurements: Mapping[str, Measurement]) -> list[Aim]:
    fast, storescu, disk = (measurements.get(name) for name in ("receive", "receive-storescu", "receive-disk"))
    speed = "objects_per_s"

    def beside(what: str, limit: float, peer: str, wanted: Callable[[Cell], bool] = lambda _: True) -> Aim:
        return _of(what, limit, _mean(fast, OURS, peer, wanted), _mean(fast, SINK, peer, wanted))

    return [
        beside("Receiving, ratio to tuned DCMTK: geometric mean", 1.0, TUNED),
        _least(
            "the lowest cell",
            0.9,
            _ratios(fast, OURS, TUNED, lambda _: True, speed),
            bare=_ratios(fast, SINK, TUNED, lambda _: True, speed),
        ),
        beside("at 16 associations, geometric mean", 1.2, TUNED, lambda cell: cell[1] == 16),
        _of("with DCMTK's storescu as the sender, geometric mean", 1.0, _mean(storescu, OURS, TUNED)),
        beside("ratio to DCMTK as installed, geometric mean", 20, INSTALLED),
        beside("ratio to Orthanc, geometric mean", 8, ORTHANC),
        beside("ratio to pynetdicom's storescp, geometric mean", 10, PYNETDICOM),
        beside("ratio to pynetdicom's storescp, CT", 17, PYNETDICOM, lambda cell: cell[0] == "ct"),
        _of(
            "On a disk, synced: ratio to not synced, both with recycled files, geometric mean",
            0.7,
            _mean(disk, OURS_DURABLE_RECYCLING, OURS_RECYCLING),
        ),
        _of(
            "with recycled files, ratio to not synced with new files, geometric mean",
            0.7,
            _mean(disk, OURS_DURABLE_RECYCLING, OURS),
        ),
        _least(
            "ratio to DCMTK with default options, which never syncs, at 4 and 16: the lowest cell",
            1.0,
            _ratios(disk, OURS_DURABLE_RECYCLING, DEFAULT, lambda cell: cell[1] in (4, 16), speed),
        ),
        _least(
            "CPU time of a CT object, ratio to tuned DCMTK: the highest cell",
            1.1,
            _ratios(fast, OURS, TUNED, lambda cell: cell[0] == "ct", _CPU),
            at_most=True,
        ),
    ]


def _memory(measurements: Mapping[str, Measurement]) -> list[Aim]:
    fast, scale = measurements.get("receive"), measurements.get("scale")

    def peaks(kind: str) -> float | None:
        found = [one for cell in fast.cells if cell[0] == kind and (one := fast.median(OURS, cell, _PEAK))] if fast else []
        return max(found) if found else None

    large, small = peaks("large"), peaks("ct")
    sizes = scale.cells_of(SERVER) if scale else []
    numbers = sorted((_objects(cell), scale.median(SERVER, cell, _PEAK) or 0) for cell in sizes) if scale else []
    grown = numbers[-1][1] / numbers[0][1] if len(numbers) > 1 else None
    return [
        Aim(
            what="Peak memory of a process with a 500 MiB object",
            limit=100,
            measured=large * _MB if large else None,
            said=f"{number(large * _MB)} MB" if large else "-",
            at_most=True,
            unit=" MB",
        ),
        Aim(
            what="Memory is flat in object size: 500 MiB objects to CT",
            limit=_FLAT,
            measured=large / small if large and small else None,
            said=f"{large / small:.2f}" if large and small else "-",
            at_most=True,
        ),
        Aim(
            what="Memory is flat in the number of objects of an association",
            limit=_FLAT,
            measured=grown,
            said=f"{grown:.2f}, from {numbers[0][0]:,} to {numbers[-1][0]:,} objects" if grown else "-",
            at_most=True,
        ),
    ]


def _objects(cell: Cell) -> int:
    found = re.match(r"\d+", cell[0])
    return int(found[0]) if found else 0


def _rest(measurements: Mapping[str, Measurement]) -> list[Aim]:
    upload = measurements.get("upload")
    aims: list[Aim] = []
    for cell in both(upload) if upload else []:
        assert upload  # noqa: S101 - it has a cell
        aims += [_of(f"{cell[0].capitalize()}: ratio to {peer}", 5, upload.ratio(RECEIVER, peer, cell)) for peer in WATCHED]
        aims.append(_backlog(upload, cell))
    return [*aims, *_indexing(measurements.get("index")), *_end_to_end(measurements.get("end_to_end"))]


def _backlog(upload: Measurement, cell: Cell) -> Aim:
    left, objects = upload.median(RECEIVER, cell, _LEFT), upload.median(RECEIVER, cell, "objects")
    share = left / objects if left is not None and objects else None
    return Aim(
        what=f"{cell[0].capitalize()}: share of the objects that waited when the last was received",
        limit=_DRAINED,
        measured=share,
        said=number(share),
        at_most=True,
    )


def _indexing(index: Measurement | None) -> list[Aim]:
    """Of CT objects in the smallest catalog, from each server that stood for S3."""
    cells = [cell for cell in index.cells if cell[0].split()[0] == "ct"] if index else []
    smallest = [cell for cell in cells if cell[1] == min(rows for _, rows in cells)]
    if index is None or not smallest:
        return [_of("Indexing CT, ratio to the reference's way: fewer bytes", 20, None), _of("objects a second", 10, None)]
    fewer = index.ratio(INDEX_REFERENCE, INDEXER, smallest[0], INDEX_BYTES)
    return [
        _of("Indexing CT, ratio to the reference's way: fewer bytes", 20, fewer),
        *(
            _of(
                f"objects a second{cell[0].removeprefix('ct')}",
                10,
                index.ratio(INDEXER, INDEX_REFERENCE, cell, INDEX_SPEED),
                index.ratio(READING, INDEX_REFERENCE, cell, INDEX_SPEED),
            )
            for cell in smallest
        ),
    ]


def _end_to_end(pipeline: Measurement | None) -> list[Aim]:
    thousand = ("1000 objects each", 1)
    spent = pipeline.figures(PIPELINE, thousand, SECONDS) if pipeline else []
    its = timer(pipeline) if pipeline else []
    one = interval(spent) if spent else None
    ratio = statistics.median(its) / one.median if its and one else None
    return [
        Aim(
            what="From the release of 1,000 objects to their image sets, less the import job's time, median",
            limit=3,
            measured=one.median if one else None,
            said=shown(one),
            at_most=True,
            unit=" s",
        ),
        Aim(what="the reference's timer takes so many times that", limit=15, measured=ratio, said=number(ratio)),
    ]
