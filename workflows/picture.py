"""Draws the machines: `python -m workflows.picture` writes an SVG beside each machine's file, made of nothing but that file.

A layered drawing, as Sugiyama, Tagawa and Toda describe it (IEEE SMC 11 (2), 1981): states stand in layers by their longest
way from the start; an edge over several layers gets a place in each of them; places are ordered and moved towards their
neighbours. Map and Parallel are boxes around drawings of their own. Dashed edges are caught errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import workflows

Scope = Mapping[str, Any]

_STATE_WIDTH, _STATE_HEIGHT = 204.0, 40.0
_COLUMN_GAP, _LAYER_GAP, _PADDING, _TITLE_HEIGHT = 26.0, 38.0, 18.0, 26.0
_PASSAGE_WIDTH = 8.0
_SWEEPS = 24
_STYLE = """
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1b2733; text-anchor: middle; dominant-baseline: middle }
.kind { font-size: 9.5px; fill: #5b6b7b }
rect { fill: #eef3f8; stroke: #7d93a8 } .Task rect { fill: #dcebfb; stroke: #3f79b5 }
.Choice rect { fill: #fdf3d3; stroke: #b9942c }
.Wait rect { fill: #ece7f7; stroke: #7f6bb3 } .Succeed rect { fill: #dff3e1; stroke: #4a9a55 }
.Fail rect { fill: #fbe1df; stroke: #bb4d43 }
.Map > rect, .Parallel > rect { fill: #f7f9fb; stroke: #9fb0c0; stroke-dasharray: 4 3 }
path { fill: none; stroke: #5b6b7b; stroke-width: 1.3 } path.catch { stroke: #bb4d43; stroke-dasharray: 5 4 }
"""


@dataclass
class _Place:
    """A state, or where an edge passes a layer. `x` is the middle; `body` draws it at its place."""

    name: str
    width: float
    height: float
    body: str = ""
    x: float = 0
    y: float = 0
    up: list[_Place] = field(default_factory=list)
    down: list[_Place] = field(default_factory=list)


@dataclass(frozen=True)
class _Edge:
    """From a state to the one after it; `caught` for an error's way."""

    start: str
    end: str
    caught: bool


def svg(machine: str) -> str:
    """The drawing of a machine of `workflows.MACHINES`, as a file."""
    width, height, body = _drawn(json.loads(workflows.definition(machine)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">\n<title>The state machine {machine}</title>\n<style>{_STYLE}</style>\n'
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<polygon points="0,0 8,4 0,8" fill="#5b6b7b"/></marker></defs>\n'
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill: #ffffff; stroke: none"/>\n{body}</svg>\n'
    )


def _drawn(scope: Scope) -> tuple[float, float, str]:
    """(width, height, drawing) of the states of one scope."""
    places = {name: _state(name, state) for name, state in scope["States"].items()}
    edges = [edge for name, state in scope["States"].items() for edge in _edges(name, state)]
    layers = _layered(scope["StartAt"], places, edges)
    ways = [_way(edge, places, layers) for edge in edges]
    rows: list[list[_Place]] = [[] for _ in range(max(layers.values()) + 1)]
    for name, layer in layers.items():
        rows[layer].append(places[name])
    for _, passages, first in ways:
        for offset, passage in enumerate(passages):
            rows[first + offset].append(passage)
    _order(rows)
    width, height = _arrange(rows)
    lines = [_line(edge, places, passages) for edge, passages, _ in ways]
    states = [f'<g transform="translate({one.x - one.width / 2:.1f} {one.y:.1f})">{one.body}</g>\n' for one in places.values()]
    return width, height, "".join(states + lines)


def _state(name: str, state: Scope) -> _Place:
    inner = [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]
    kind = str(state["Type"])
    if not inner:
        label = _kind(state)
        body = (
            f'<g class="{kind}"><rect width="{_STATE_WIDTH}" height="{_STATE_HEIGHT}" rx="6"/>'
            f'<text x="{_STATE_WIDTH / 2}" y="15">{escape(name)}</text>'
            f'<text class="kind" x="{_STATE_WIDTH / 2}" y="30">{escape(label)}</text></g>'
        )
        return _Place(name, _STATE_WIDTH, _STATE_HEIGHT, body)
    drawings = [_drawn(one) for one in inner]
    width = sum(drawing[0] for drawing in drawings)
    height = max(drawing[1] for drawing in drawings) + _TITLE_HEIGHT
    parts, left = [], 0.0
    for drawing_width, _, drawing in drawings:
        parts.append(f'<g transform="translate({left:.1f} {_TITLE_HEIGHT})">{drawing}</g>')
        left += drawing_width
    title = f'<text x="{width / 2:.1f}" y="16">{escape(name)} <tspan class="kind">{escape(_kind(state))}</tspan></text>'
    body = f'<g class="{kind}"><rect width="{width:.1f}" height="{height:.1f}" rx="8"/>{title}{"".join(parts)}</g>'
    return _Place(name, width, height, body)


def _kind(state: Scope) -> str:
    """What a state is, in a word or two: a Task by what it calls."""
    resource = str(state.get("Resource", "")).removeprefix("arn:aws:states:::").removeprefix("aws-sdk:")
    return {"lambda:invoke": "Lambda"}.get(resource, resource) or str(state["Type"])


def _edges(name: str, state: Scope) -> Iterator[_Edge]:
    seen = set()
    nexts = [state.get("Next"), *(choice["Next"] for choice in state.get("Choices", [])), state.get("Default")]
    for following in nexts:
        if following and following not in seen:
            seen.add(following)
            yield _Edge(name, following, caught=False)
    for catcher in state.get("Catch", []):
        yield _Edge(name, catcher["Next"], caught=True)


def _layered(start: str, places: Mapping[str, _Place], edges: Sequence[_Edge]) -> dict[str, int]:
    """The layer of each state: its longest way from the start, over edges that lead to no state before."""
    following = {name: [edge.end for edge in edges if edge.start == name] for name in places}
    finished: list[str] = []
    backward: set[tuple[str, str]] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        for one in reversed(following[name]):  # a Choice's Default first: a loop is left by the other ways
            if one in (*above, name):
                backward.add((name, one))
            elif one not in finished:
                visit(one, (*above, name))
        if name not in finished:
            finished.append(name)

    visit(start, ())
    layers = dict.fromkeys(places, 0)
    for name in reversed(finished):
        for one in following[name]:
            if (name, one) not in backward:
                layers[one] = max(layers[one], layers[name] + 1)
    return layers


def _way(edge: _Edge, places: Mapping[str, _Place], layers: Mapping[str, int]) -> tuple[_Edge, list[_Place], int]:
    """(edge, its passages from the upper layer to the lower, the first one's layer); all are linked with their neighbours."""
    upper, lower = sorted((edge.start, edge.end), key=lambda name: layers[name])
    passages = [_Place("", _PASSAGE_WIDTH, 0) for _ in range(layers[lower] - layers[upper] - 1)]
    chain = [places[upper], *passages, places[lower]]
    for one, other in pairwise(chain):
        one.down.append(other)
        other.up.append(one)
    return edge, passages, layers[upper] + 1


def _order(rows: list[list[_Place]]) -> None:
    """Order each layer by where its places' neighbours stand, downwards and upwards in turn."""
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for row in rows if downwards else reversed(rows):
            for index, place in enumerate(row):
                place.x = float(index)
            row.sort(key=lambda place: _wish(place, downwards=downwards))
            for index, place in enumerate(row):
                place.x = float(index)


def _wish(place: _Place, *, downwards: bool) -> float:
    neighbours = place.up if downwards else place.down
    return fmean(one.x for one in neighbours) if neighbours else place.x


def _arrange(rows: list[list[_Place]]) -> tuple[float, float]:
    """Give every place its coordinates; the drawing's width and height."""
    for row in rows:
        _pack(row, [0.0] * len(row))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _pack(row, [fmean(one.x for one in [*place.up, *place.down] or [place]) for place in row])
    left = min(place.x - place.width / 2 for row in rows for place in row) - _PADDING
    top = _PADDING
    for row in rows:
        height = max(place.height for place in row)
        for place in row:
            place.x -= left
            place.y = top + (height - place.height) / 2
        top += height + _LAYER_GAP
    return max(place.x + place.width / 2 for row in rows for place in row) + _PADDING, top - _LAYER_GAP + _PADDING


def _pack(row: Sequence[_Place], wishes: Sequence[float]) -> None:
    """Put each place as near to its wish as its neighbours allow: groups that would overlap share their mean."""
    groups: list[tuple[list[_Place], float, float]] = []  # places, the group's width, the wish for its left edge
    for place, wish in zip(row, wishes, strict=True):
        group = ([place], place.width, wish - place.width / 2)
        while groups and groups[-1][2] + groups[-1][1] + _COLUMN_GAP > group[2]:
            before = groups.pop()
            offset = before[1] + _COLUMN_GAP
            count, more = len(before[0]), len(group[0])
            wished = (before[2] * count + (group[2] - offset) * more) / (count + more)
            group = (before[0] + group[0], offset + group[1], wished)
        groups.append(group)
    for places, _, left in groups:
        x = left
        for place in places:
            place.x = x + place.width / 2
            x += place.width + _COLUMN_GAP


def _line(edge: _Edge, places: Mapping[str, _Place], passages: Sequence[_Place]) -> str:
    """A smooth line from state to state through the passages; one that leads back runs upwards."""
    start, end = places[edge.start], places[edge.end]
    upwards = end.y < start.y
    between = [(one.x, one.y) for one in (reversed(passages) if upwards else passages)]
    shift = 12.0 if upwards else 0.0
    first = (start.x + shift, start.y if upwards else start.y + start.height)
    last = (end.x + shift, end.y + end.height if upwards else end.y)
    points = [first, *between, last]
    path = f"M{first[0]:.1f} {first[1]:.1f}"
    for (x, y), (next_x, next_y) in pairwise(points):
        middle = (y + next_y) / 2
        path += f" C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
    return f'<path class="{"catch" if edge.caught else "next"}" d="{path}" marker-end="url(#to)"/>\n'


if __name__ == "__main__":
    for name in workflows.MACHINES:
        (Path(__file__).parent / f"{name}.svg").write_text(svg(name), encoding="utf-8")
