"""Several differences with their intervals, a panel for each question and a row for each task."""

from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from circuitune.figures.style import INK, NULL_EDGE, PAGE, Drawing, drawing

ABREAST: Final = 3
"""Panels in a row."""


class Difference(NamedTuple):
    """One row of a panel: its name, the difference, the ends of its interval, and whether it counts as found."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    found: bool


def forest(panels: dict[str, Sequence[Difference]], axis: str) -> Drawing:
    """A panel per title; full dots where a difference is found, empty ones where it is not, and a line at 0.

    Args:
        panels: rows by title, in one order of names; a row without a value is drawn as its name alone.
        axis: what is measured.
    """
    columns = min(ABREAST, len(panels))
    rows = ceil(len(panels) / columns)
    height = 0.45 + 0.17 * max(map(len, panels.values()))
    with drawing(PAGE, rows * height + 0.2) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for place, (title, own) in enumerate(panels.items()):
            _draw(
                axes[place], own, named=place % columns == 0 or _names(own) != _names([*panels.values()][place - 1])
            )
            axes[place].set_title(title)
            if place + columns >= len(panels):
                axes[place].set_xlabel(axis)
        for spare in axes[len(panels) :]:
            spare.remove()
    return figure


def _names(rows: Sequence[Difference]) -> list[str]:
    return [row.name for row in rows]


def _draw(axes: Axes, rows: Sequence[Difference], *, named: bool) -> None:
    axes.axvline(0, color=NULL_EDGE, linewidth=0.8, zorder=1)
    for y, row in enumerate(rows):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=INK, linewidth=1.2, solid_capstyle="butt", zorder=3)
        if row.value is not None:
            face = INK if row.found else "white"
            axes.plot([row.value], [y], color=INK, marker="o", markersize=4, markerfacecolor=face, zorder=4)
    axes.set_yticks(range(len(rows)), [row.name if named else "" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.xaxis.set_major_locator(MaxNLocator(4))
