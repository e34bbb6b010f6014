"""Measurements as they are read back, and how their figures are written."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench import results
from bench.measure import Interval, geometric_mean, interval

SPEED = "objects_per_s"
Cell = tuple[str, int]
"""A kind of objects, and how many associations at once (or whatever else a benchmark counts)."""


class Measurement:
    """One measurement of a name: figures by server, cell and the figure's name, one for each round."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._cells: dict[tuple[str, str, int], dict[str, list[float]]] = {}
        for cell, figures in document["cells"].items():
            server, kind, associations = cell.split(" | ")
            self._cells[server, kind, int(associations)] = figures

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for server, _, _ in self._cells))

    @property
    def cells(self) -> list[Cell]:
        return list(dict.fromkeys((kind, associations) for _, kind, associations in self._cells))

    def cells_of(self, server: str) -> list[Cell]:
        return [cell for cell in self.cells if (server, *cell) in self._cells]

    def figures(self, server: str, cell: Cell, name: str = SPEED) -> list[float]:
        return self._cells.get((server, *cell), {}).get(name, [])

    def median(self, server: str, cell: Cell, name: str = SPEED) -> float | None:
        """None for what was not run."""
        figures = self.figures(server, cell, name)
        return statistics.median(figures) if figures else None

    def ratio(self, ours: str, theirs: str, cell: Cell, name: str = SPEED) -> Interval | None:
        """Ours to theirs over the rounds that both ran."""
        rounds = self._ratios(ours, theirs, cell, name)
        return interval(rounds) if rounds else None

    def mean_ratio(self, ours: str, theirs: str, cells: Sequence[Cell], name: str = SPEED) -> Interval | None:
        """The geometric mean of the cells' ratios, taken in each round that has all of them."""
        each = [rounds for cell in cells if (rounds := self._ratios(ours, theirs, cell, name))]
        means = [geometric_mean(one) for one in zip(*each, strict=False)]
        return interval(means) if means else None

    def _ratios(self, ours: str, theirs: str, cell: Cell, name: str) -> list[float]:
        one, other = self.figures(ours, cell, name), self.figures(theirs, cell, name)
        return [mine / its for mine, its in zip(one, other, strict=False) if mine and its]  # CPU time may be too short to tell

    @property
    def rounds(self) -> int:
        """The most rounds that a cell had."""
        return max(len(figures) for cell in self._cells.values() for figures in cell.values())


def read(name: str) -> list[Measurement]:
    """The measurements of a name, the newest first."""
    path = results.folder() / f"{name}.json"
    return [Measurement(document) for document in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def shown(one: Interval | None) -> str:
    return "-" if one is None else f"**{number(one.median)}** ({number(one.low)} to {number(one.high)})"


def title(cell: Cell) -> str:
    kind, associations = cell
    return f"{ {'ct': 'CT'}.get(kind, kind) } x{associations}"


def conditions(measurement: Measurement) -> str:
    """Where, when and with what it was measured."""
    document, machine = measurement.document, measurement.document["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    versions = ", ".join(f"{name} {machine[name.lower()]}" for name in ("Python", "pynetdicom", "DCMTK", "Orthanc"))
    if receiver := machine.get("receiver_python"):
        versions += f", the receiver's Python {receiver}"
    what = ", ".join(f"{name} {value}" for name, value in document["conditions"].items())
    moment = document["measured_at"][:16].replace("T", " ")
    broken = " **An error broke it off**: the rounds that it has are whole." if document["broken_off"] else ""
    return (
        f"`{document['command']}`, {moment} UTC, commit {machine['commit']}, on {where}; {versions}; {what}. "
        f"Up to {measurement.rounds} rounds: medians, in brackets their intervals.{broken}\n"
    )


def compared(
    measurements: Sequence[Measurement],
    what: str,
    figures: Callable[[Measurement, Cell], Sequence[float]],
    *,
    name: Callable[[Cell], str] = title,
    more_is_better: bool = True,
) -> str:
    """What has changed since the measurement before. Worse is a change whose intervals do not overlap."""
    if len(measurements) < 2:
        return f"{what}: there is no earlier measurement to compare with.\n"
    newest, before = measurements[:2]
    lines = []
    for cell in newest.cells:
        now, then = figures(newest, cell), figures(before, cell)
        if now and then:
            one, other = interval(now), interval(then)
            worse = one.high < other.low if more_is_better else one.low > other.high
            change = f"{one.median / other.median:.2f}" if other.median else "-"
            lines.append(
                f"{name(cell)} {number(other.median)} to {number(one.median)} ({change}{', **worse**' if worse else ''})"
            )
    document = before.document
    since = f"{document['measured_at'][:16].replace('T', ' ')}, commit {document['machine']['commit']}"
    other_conditions = document["conditions"] != newest.document["conditions"]
    with_others = f", which had other conditions ({document['command']})" if other_conditions else ""
    if document["machine"]["cpu"] != newest.document["machine"]["cpu"]:
        with_others += f", on another machine ({document['machine']['cpu']}), so that only ratios to others can be compared"
    return f"{what}, against the measurement of {since}{with_others}: {'; '.join(lines) or 'no cell in common'}.\n"
