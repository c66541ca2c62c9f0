"""What each layer gains and loses: bars to both sides, layers from bottom to top."""

from collections.abc import Sequence
from typing import Final, Protocol

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from circuitune.figures.style import ADDED, INK, NULL_EDGE, PAGE, REMOVED, Drawing, drawing

_PANELS: Final = (
    ("Edges by source", "edge", "source"),
    ("Edges by destination", "edge", "destination"),
    ("Nodes", "node", "source"),
)


class LayerCounts(Protocol):
    """What one comparison adds and removes in one layer, as `core.records.LayerRow` and ``LayerChange`` have it."""

    @property
    def kind(self) -> str:
        """``node`` or ``edge``."""
        ...

    @property
    def side(self) -> str:
        """Whether an edge is booked to the layer of its ``source`` or its ``destination``."""
        ...

    @property
    def layer(self) -> int:
        """-1 is the input; the number of layers, the logits."""
        ...

    @property
    def added(self) -> int:
        """How many joined."""
        ...

    @property
    def removed(self) -> int:
        """How many left."""
        ...


def layer_drawing(changes: Sequence[LayerCounts], chance: Sequence[LayerCounts] = ()) -> Drawing:
    """Edges by source and by destination, and nodes.

    Bars are means over the comparisons; a line spans the least and the most of several; strokes are the means of the
    comparisons in which nothing but chance differs.
    """
    last = max(one.layer for one in changes)
    layers = sorted({one.layer for one in changes})
    several = len(changes) > len({(one.kind, one.side, one.layer) for one in changes})
    with drawing(PAGE, 0.85 + 0.15 * len(layers)) as figure:
        panels = figure.subplots(1, len(_PANELS), sharey=True)
        for axes, (title, kind, side) in zip(panels, _PANELS, strict=True):
            own, nulls = ([one for one in rows if (one.kind, one.side) == (kind, side)] for rows in (changes, chance))
            for y, layer in enumerate(layers):
                _bars(axes, y, [one for one in own if one.layer == layer], [n for n in nulls if n.layer == layer])
            _frame(axes, title, f"{kind}s", len(layers))
        panels[0].set_yticks(range(len(layers)), [layer_name(layer, last) for layer in layers])
        panels[0].set_ylabel("layer")
        figure.legend(handles=_legend(several, bool(chance)), loc="outside lower center", ncols=4)
    return figure


def layer_name(layer: int, last: int) -> str:
    """``input``, the layer's number, or ``logits``."""
    return "input" if layer < 0 else "logits" if layer == last else str(layer)


def _bars(axes: Axes, y: int, changes: Sequence[LayerCounts], chance: Sequence[LayerCounts]) -> None:
    for colour, values, nulls in (
        (REMOVED, [-one.removed for one in changes], [-one.removed for one in chance]),
        (ADDED, [one.added for one in changes], [one.added for one in chance]),
    ):
        if values:
            axes.barh(y, sum(values) / len(values), height=0.62, color=colour, linewidth=0)
        if len(values) > 1:
            axes.plot([min(values), max(values)], [y, y], color=INK, linewidth=0.9, solid_capstyle="butt")
        if any(nulls):
            at = sum(nulls) / len(nulls)
            axes.plot([at, at], [y - 0.42, y + 0.42], color=NULL_EDGE, linewidth=1.3, zorder=4)


def _frame(axes: Axes, title: str, axis: str, layers: int) -> None:
    axes.use_sticky_edges = False
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_ylim(-0.7, layers - 0.3)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    axes.set_title(title)
    axes.set_xlabel(axis)


def _legend(several: bool, chance: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [Patch(color=REMOVED, label="removed"), Patch(color=ADDED, label="added")]
    if several:
        handles.append(Line2D([], [], color=INK, linewidth=1, label="least to most"))
    if chance:
        stroke = Line2D([], [], color=NULL_EDGE, marker="|", markersize=7, markeredgewidth=1.3, linestyle="none")
        stroke.set_label("between two seeds")
        handles.append(stroke)
    return handles
