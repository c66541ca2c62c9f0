"""A change with its interval, over what the same measures are where nothing but chance differs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from circuitune.figures.style import COLUMN, INK, NULL, NULL_EDGE, PAGE, Drawing, drawing, percent

CHANGE: Final = "change"

ROLES: Final = {
    CHANGE: "before and after",
    "seed": "two seeds",
    "split": "halves of the pairs",
    "random-init": "random weights",
    "rewired": "rewired",
    "random": "random circuits",
}
"""The rows, from top to bottom: the change, and each kind of chance."""

_MEASURES: Final = (
    ("edge_rate", "Edges changed", "of the edges before", True),
    ("node_rate", "Nodes changed", "of the nodes before", True),
    ("ratio", "Edges against nodes", "change of edges / of nodes", False),
)
"""The panels: measure, title, what the axis says, and whether it is a share."""


class Estimate(NamedTuple):
    """One measure of one comparison, or of one kind of chance (`ROLES`), and its ends; None where there is none."""

    measure: str
    role: str
    value: float | None
    low: float | None
    high: float | None


def change_and_chance(estimates: Sequence[Estimate]) -> Drawing | None:
    """A panel per measure: dots with intervals, bars with their mean for chance; None where nothing is defined."""
    known = [one for one in estimates if one.value is not None]
    measures = [measure for measure in _MEASURES if any(one.measure == measure[0] for one in known)]
    rows = [role for role in ROLES if any(one.role == role for one in known)]
    if not measures:
        return None
    heights = [0.16 + 0.075 * max(_count(known, measure, role) for measure, *_ in measures) for role in rows]
    width = COLUMN if len(measures) == 1 else PAGE
    with drawing(width, 0.75 + sum(heights)) as figure:
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, (measure, title, axis, share) in zip(panels, measures, strict=True):
            _draw(axes, [one for one in known if one.measure == measure], rows, heights)
            axes.set_title(title)
            axes.set_xlabel(axis)
            if share:
                axes.xaxis.set_major_formatter(percent)
    return figure


def _count(estimates: Sequence[Estimate], measure: str, role: str) -> int:
    return sum((one.measure, one.role) == (measure, role) for one in estimates)


def _draw(axes: Axes, estimates: Sequence[Estimate], rows: Sequence[str], heights: Sequence[float]) -> None:
    """Rows from top to bottom, each as high as it has estimates."""
    tops = [sum(heights[:place]) for place in range(len(rows))]
    for top, height, role in zip(tops, heights, rows, strict=True):
        own = [one for one in estimates if one.role == role]
        step = (height - 0.08) / max(1, len(own))
        for place, one in enumerate(own):
            _mark(axes, one, top + 0.04 + (place + 0.5) * step, min(step, 0.2))
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=True)]
    axes.set_yticks(middles, [ROLES[role] for role in rows])
    axes.set_ylim(sum(heights), 0)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _mark(axes: Axes, one: Estimate, y: float, height: float) -> None:
    assert one.value is not None
    if one.role == CHANGE:
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [y, y], color=INK, linewidth=1.3, solid_capstyle="butt", zorder=4)
        axes.plot([one.value], [y], color=INK, marker="o", markersize=4, linestyle="none", zorder=5)
        return
    if one.low is not None and one.high is not None:
        axes.barh(y, one.high - one.low, height=0.8 * height, left=one.low, color=NULL, linewidth=0, zorder=2)
    axes.plot([one.value] * 2, [y - 0.4 * height, y + 0.4 * height], color=NULL_EDGE, linewidth=1.1, zorder=3)
