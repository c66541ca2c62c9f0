"""How comparisons show themselves: HTML, a frame, a drawing. Their methods of the same names call this."""

import math
from typing import TYPE_CHECKING, Any

from circuitune.core.notebook import card

if TYPE_CHECKING:
    from circuitune.dynamics.change import Change, SetChange
    from circuitune.dynamics.comparison import Comparison
    from circuitune.dynamics.nulls import Null
    from circuitune.figures.intervals import Estimate
    from circuitune.figures.style import Drawing

_COUNTS = ["", "before", "after", "added", "removed", "kept", "Jaccard", "changed"]


def change_html(change: "Change") -> str:
    """Counts of edges and nodes."""
    return card("Change", [], _COUNTS, [_counts("edges", change.edges), _counts("nodes", change.nodes)])


def change_facts(change: "Change") -> list[str]:
    """What of edges and nodes is added, removed and kept."""
    return [
        f"{name} {part.before:,} to {part.after:,}, {len(part.added):,} added, {len(part.removed):,} removed"
        for name, part in (("edges", change.edges), ("nodes", change.nodes))
    ]


def _counts(name: str, part: "SetChange") -> list[object]:
    rate = None if part.rate is None else f"{part.rate:.0%}"
    counts = [part.before, part.after, len(part.added), len(part.removed), len(part.kept)]
    return [name, *counts, round(part.jaccard, 3), rate]


def change_columns(change: "Change") -> dict[str, list[str]]:
    """One entry per edge and node that is in either circuit: what it is, its name, and what became of it."""
    entries = [
        (kind, name, status)
        for kind, part in (("edge", change.edges), ("node", change.nodes))
        for status, names in (("added", part.added), ("removed", part.removed), ("kept", part.kept))
        for name in names
    ]
    return {column: [entry[place] for entry in entries] for place, column in enumerate(("kind", "name", "status"))}


def draw_change(change: "Change") -> "Drawing":
    """What each layer gains and loses."""
    from circuitune.figures.layers import layer_drawing

    return layer_drawing(change.layers)


def comparison_html(found: "Comparison") -> str:
    """The verdicts and what else is to be said, the counts below."""
    rows = [_counts("edges", found.change.edges), _counts("nodes", found.change.nodes)]
    return card("Comparison", found.sentences, _COUNTS, rows)


def comparison_columns(found: "Comparison") -> dict[str, list[Any]]:
    """One entry per measure: estimate, ends of its interval, mean and bound of each null, and the verdict."""
    measures, verdicts = found.measures, found.verdicts
    columns: dict[str, list[Any]] = {"measure": list(measures)}
    for name in ("estimate", "low", "high"):
        columns[name] = [record[name] for record in measures.values()]
    for kind in ("split", "rewired"):
        for part in ("mean", "bound"):
            columns[f"{kind}_{part}"] = [record["nulls"].get(kind, {}).get(part) for record in measures.values()]
    outcomes = [verdicts[name].outcome if name in verdicts else None for name in measures]
    return {**columns, "verdict": outcomes}


def draw_comparison(found: "Comparison") -> "Drawing":
    """Every measure with its interval over its nulls; by layer where nothing is defined."""
    from circuitune.figures.intervals import CHANGE, Estimate, change_and_chance

    estimates = [
        Estimate(name, CHANGE, record["estimate"], record["low"], record["high"])
        for name, record in found.measures.items()
    ]
    nulls = [found.chance.splits, found.rewired] if found.chance else [found.rewired]
    estimates += [_estimate(name, null) for kind in nulls for name, null in kind.items()]
    drawn = change_and_chance(estimates)
    return drawn or draw_change(found.change)


def _estimate(measure: str, null: "Null") -> "Estimate":
    """Its mean, and the ends between which 95 % of its comparisons lie."""
    from circuitune.figures.intervals import Estimate

    low, high = (null.quantile(level) for level in (0.025, 0.975))
    known = low is not None and high is not None and math.isfinite(high)
    return Estimate(measure, null.kind, null.mean, low if known else None, high if known else None)
