"""A circuit as layers from bottom to top, or two beside each other: nodes shaded by degree, edges by their fate.

The same geometry as the page's drawing (``web/src/drawing.ts``): heads in columns, the MLP to their right, and an
edge from the top of its source to the q, k or v part of its reader's underside.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from circuitune.figures.style import (
    ADDED,
    COLUMN,
    INK,
    KEPT,
    PAGE,
    REMOVED,
    RULE,
    SIZE,
    SOFT,
    Drawing,
    drawing,
)

MOST_DRAWN: Final = 150
"""Edges drawn, the strongest ones; more of them hide each other."""

_SHADES: Final = LinearSegmentedColormap.from_list("degree", ["#f4f9f8", "#8fc1ba", SIZE])
_COLOURS: Final = {"kept": KEPT, "added": ADDED, "removed": REMOVED}
_ORDER: Final = {"kept": 0, "removed": 1, "added": 2}
_NODE: Final = re.compile(r"(?P<kind>[am])(?P<layer>\d+)(?:\.(?P<reader>h|kv)(?P<head>\d+))?(?:<(?P<letter>[qkv])>)?")

Edges = dict[tuple[str, str], float]
"""The edges of a circuit, (source, destination) by name, and how strong each is: what decides which are drawn."""


@dataclass(frozen=True)
class Shape:
    """What of a model's graph the drawing needs; ``parallel`` where attention and MLP of a block read the same."""

    layers: int
    heads: int
    kv_heads: int
    parallel: bool


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class _Side:
    """One circuit to draw: its edges with what became of each, and how many edges each of its nodes has."""

    title: str
    edges: Mapping[tuple[str, str], tuple[float, str]]
    degrees: Mapping[str, int]


def degrees(shape: Shape, edges: Edges) -> Counter[str]:
    """Edges that leave or enter each node; one into a key/value head counts for every head of its group."""
    counted: Counter[str] = Counter()
    for source, destination in edges:
        counted[source] += 1
        counted.update(_readers(shape, destination))
    return counted


def circuit_drawing(shape: Shape, circuits: Mapping[str, Edges], most: int = MOST_DRAWN) -> Drawing:
    """One circuit at column width, or two, before and after, at page width.

    Args:
        shape: of the graph that the circuits belong to.
        circuits: one or two by title; of two, the first is the one before.
        most: how many edges are drawn at most, the strongest of both.
    """
    strength = Counter[tuple[str, str]]()
    for edges in circuits.values():
        strength |= Counter(edges)  # the larger of both
    drawn = sorted(strength, key=lambda edge: (-strength[edge], edge))[:most]
    sides = [_side(shape, title, edges, circuits, strength, drawn) for title, edges in circuits.items()]
    width = COLUMN if len(sides) == 1 else PAGE
    row = max(0.2, min(0.42, 5.2 / (shape.layers + 2))) * (1 if shape.parallel else 1.35)
    with drawing(width, row * (shape.layers + 1) + 1.2) as figure:
        panels = figure.subplots(1, len(sides), squeeze=False)[0]
        largest = max([1, *(count for side in sides for count in side.degrees.values())])
        for axes, side in zip(panels, sides, strict=True):
            _draw(axes, shape, side, width / len(sides), row, (largest, max(strength.values(), default=1.0)))
        shades = ScalarMappable(PowerNorm(0.5, 0, largest), _SHADES)
        scale = figure.colorbar(shades, ax=list(panels), location="bottom", aspect=40, shrink=0.5, pad=0.02)
        scale.set_label("edges of a node (degree)", fontsize=6.5)
        scale.locator = MaxNLocator(6, integer=True)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=6, length=2)
        if len(sides) > 1:
            figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return figure


def _side(
    shape: Shape,
    title: str,
    edges: Edges,
    circuits: Mapping[str, Edges],
    strength: Mapping[tuple[str, str], float],
    drawn: Sequence[tuple[str, str]],
) -> _Side:
    own: dict[tuple[str, str], tuple[float, str]] = {}
    first = next(iter(circuits))
    for edge in drawn:
        if edge in edges:
            shared = all(edge in others for others in circuits.values())
            own[edge] = strength[edge], "kept" if shared else "removed" if title == first else "added"
    return _Side(title, own, degrees(shape, edges))


def _readers(shape: Shape, destination: str) -> list[str]:
    """The nodes that a destination feeds: several where query heads share a key/value head."""
    found = _NODE.fullmatch(destination)
    if found is None or found["reader"] != "kv":
        return [destination.split("<")[0]]
    group = shape.heads // shape.kv_heads
    first = int(found["head"]) * group
    return [f"a{found['layer']}.h{head}" for head in range(first, first + group)]


def _boxes(shape: Shape, width: float, row: float) -> dict[str, _Box]:
    """Where every node stands, in inches from the lower left."""
    gutter = 0.3
    step = (width - gutter - 0.25) / (shape.heads + 1.7)
    wide = min(0.34, step * 0.76)
    high = max(0.08, min(0.16, wide * 0.62, row * 0.55))
    lift = 0.0 if shape.parallel else row * 0.42  # in serial blocks the heads feed the MLP of their layer
    boxes = {"input": _Box((gutter + width) / 2, high, 0.8, high + 0.03)}
    for layer in range(shape.layers):
        y = high + (layer + 1) * row
        for head in range(shape.heads):
            boxes[f"a{layer}.h{head}"] = _Box(gutter + step * (head + 0.5), y, wide, high)
        boxes[f"m{layer}"] = _Box(gutter + step * (shape.heads + 0.65), y + lift, max(step * 0.95, wide), high)
    top = high + (shape.layers + 1) * row + lift
    boxes["logits"] = _Box((gutter + width) / 2, top, 0.8, high + 0.03)
    return boxes


def _draw(axes: Axes, shape: Shape, side: _Side, width: float, row: float, most: tuple[int, float]) -> None:
    """`most`: the largest degree and the largest strength, which set the scales."""
    largest, strongest = most
    boxes = _boxes(shape, width, row)
    axes.set_title(side.title)
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(0, boxes["logits"].y + 0.15))
    for layer in range(shape.layers):
        axes.text(0.2, boxes[f"a{layer}.h0"].y, str(layer), ha="right", va="center", fontsize=6, color=SOFT)
    order = sorted(side.edges.items(), key=lambda item: (_ORDER[item[1][1]], item[1][0], item[0]))
    for (source, destination), (strength, status) in order:
        root = (strength / strongest) ** 0.5 if strongest else 1.0
        for reader in _readers(shape, destination):
            _edge(axes, boxes[source], boxes[reader], _letter(destination), status, root)
    for name, box in boxes.items():
        _node(axes, name, box, side.degrees.get(name, 0), largest)
        text = name.split(".h")[1] if ".h" in name else "MLP" if name.startswith("m") else name
        widest = str(shape.heads - 1) if ".h" in name else text  # all heads have their number, or none
        if 0.048 * len(widest) < box.width:
            _label(axes, text, box, side.degrees.get(name, 0), largest)


def _letter(destination: str) -> str:
    return destination[-2] if destination.endswith(">") else ""


def _edge(axes: Axes, start: _Box, end: _Box, letter: str, status: str, root: float) -> None:
    """A curve past the boxes between; stronger is wider and less transparent."""
    shift = {"q": -0.3, "k": 0.0, "v": 0.3, "": 0.0}[letter] * end.width
    x0, y0 = start.x + _spread(start, end.x), start.y + start.height / 2
    x1, y1 = end.x + shift + (0 if letter else _spread(end, start.x)), end.y - end.height / 2
    bend = max(0.08, (y1 - y0) * 0.45)
    bow = min(0.3, max(0.0, (y1 - y0) * 0.16 - 0.05)) if abs(x1 - x0) < end.width * 0.6 else 0.0
    path = Path(
        [(x0, y0), (x0 + bow, y0 + bend), (x1 + bow, y1 - bend), (x1, y1)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    patch = PathPatch(
        path,
        facecolor="none",
        edgecolor=_COLOURS[status],
        linewidth=0.45 + 1.1 * root,
        alpha=(0.25 if status == "kept" else 0.4) + 0.55 * root,
        capstyle="butt",
        zorder=1,
    )
    if status == "removed":
        patch.set_linestyle((0, (4, 2)))
    axes.add_patch(patch)


def _spread(box: _Box, x: float) -> float:
    """Where along a wide box an edge leaves or arrives: towards its other end."""
    half = box.width * 0.36
    return max(-half, min(half, (x - box.x) * 0.12))


def _node(axes: Axes, name: str, box: _Box, degree: int, largest: int) -> None:
    """A box shaded by degree; one that is in no circuit is an outline under the edges."""
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    style = f"round,pad=0,rounding_size={0.03 if name.startswith('a') else box.height / 2}"
    fill, line, zorder = (_SHADES(_shade(degree, largest)), INK, 3) if degree else ("white", RULE, 0.5)
    look = {"facecolor": fill, "edgecolor": line, "linewidth": 0.5, "zorder": zorder}
    axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=style, **look))


def _label(axes: Axes, text: str, box: _Box, degree: int, largest: int) -> None:
    dark = _shade(degree, largest) > 0.62
    colour = "white" if dark else INK if degree else KEPT
    place = {"ha": "center", "va": "center", "zorder": 4 if degree else 0.6}
    axes.text(box.x, box.y - 0.004, text, fontsize=5, color=colour, **place)


def _shade(degree: int, largest: int) -> float:
    """Where on the scale, whose shades follow the root."""
    return (degree / largest) ** 0.5


def _legend() -> list[Line2D]:
    kept = Line2D([], [], color=KEPT, linewidth=1.4, label="in both")
    removed = Line2D([], [], color=REMOVED, linewidth=1.4, linestyle=(0, (4, 2)), label="removed")
    added = Line2D([], [], color=ADDED, linewidth=1.4, label="added")
    return [kept, removed, added]
