"""Lines over training, size or noise, each with the interval it comes with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from circuitune.figures.style import COLUMN, INK, PAGE, Drawing, drawing, percent

Dash = str | tuple[int, tuple[int, int]]
"""A name of matplotlib's, or an offset and the lengths of a dash and a gap in points."""


class Point(NamedTuple):
    """One value and the ends of its interval; None where there is none."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A line, and the band of its intervals; a point without a value breaks it."""

    name: str
    points: Sequence[Point]
    colour: str = INK
    dash: Dash = "-"
    weight: float = 1.1


@dataclass(frozen=True)
class Panel:
    """Lines that share axes."""

    title: str
    lines: Sequence[Line]


def line_panels(
    panels: Sequence[Panel],
    *,
    x: str,
    y: str,
    legend: str = "",
    bounds: tuple[float | None, float | None] = (None, None),
    shares: bool = False,
    ticks: Sequence[float] = (),
) -> Drawing:
    """One panel at column width, more of them two or three in a row of a page's width, with one legend for all.

    Args:
        panels: what to draw; a name means the same line in all of them.
        x, y: titles of the axes.
        legend: its title.
        bounds: of the y axis; None where the values decide.
        shares: whether the y values are shares, written as percent.
        ticks: of the x axis, where it has few values; else a handful of whole numbers.
    """
    columns = len(panels) if len(panels) < 4 else 3
    rows = math.ceil(len(panels) / columns)
    width = COLUMN if len(panels) == 1 else PAGE
    with drawing(width, 0.8 + 1.6 * rows) as figure:
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid.ravel(), panels, strict=False):
            _draw(axes, panel)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(y)
        for place in range(columns):
            lowest = [axes for axes in grid[:, place] if axes.get_visible()][-1]
            lowest.set_xlabel(x)
            lowest.tick_params(labelbottom=True)
        first = grid[0][0]
        first.set_ylim(*bounds)
        first.xaxis.set_major_locator(FixedLocator(ticks) if ticks else MaxNLocator(6, integer=True))
        if shares:
            first.yaxis.set_major_formatter(percent)
        _legend(figure, legend, narrow=width == COLUMN)
    return figure


def _legend(figure: Drawing, title: str, *, narrow: bool) -> None:
    """One for all panels; none where there is but one line to name."""
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    if len(handles) > 1:
        columns = 7 if not narrow else 2 if len(handles) == 4 else 3
        figure.legend(
            handles=list(handles.values()),
            loc="outside lower center",
            ncols=min(len(handles), columns),
            title=title or None,
            title_fontsize=6.5,
        )


def _draw(axes: Axes, panel: Panel) -> None:
    if panel.title:
        axes.set_title(panel.title)
    for line in panel.lines:
        nothing = math.nan
        points = sorted(line.points)
        xs = [point.x for point in points]
        ys = [nothing if point.y is None else point.y for point in points]
        low = [nothing if point.low is None else point.low for point in points]
        high = [nothing if point.high is None else point.high for point in points]
        mark = {"marker": "o", "markersize": 2.2, "markeredgewidth": 0}
        axes.plot(
            xs, ys, color=line.colour, linestyle=line.dash, linewidth=line.weight, label=line.name, zorder=3, **mark
        )
        axes.fill_between(xs, low, high, color=line.colour, alpha=0.14, linewidth=0)
